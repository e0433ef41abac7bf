"""What accelerators can do by their datasheets: the ceilings that a measurement is held against."""

import dataclasses

from flaxformers_edu.errors import unknown_name

GB, GIB, TERA = 1e9, 2**30, 1e12


@dataclasses.dataclass(frozen=True)
class Device:
    """An accelerator, as jax counts devices.

    A TPU v4 or v5p chip has two cores and is one device of jax ("megacore"). A TPU7x chip has two
    cores and is two devices: its figures here are half a chip's, but for the links, which both
    devices of a chip share. Everything else has one device a chip.
    """

    name: str
    """Short: v5p, H100."""
    kinds: tuple[str, ...]
    """What `jax.Device.device_kind` says."""
    peak_flops: float
    """FLOP/s in bfloat16, dense (without the structured sparsity that datasheets like to count)."""
    memory: float
    """Bytes of HBM. The runtime keeps a part of them for itself."""
    memory_bandwidth: float
    """Bytes/s between HBM and the device."""
    link_bandwidth: float
    """Bytes/s of one link (ICI, NVLink) in one direction."""
    num_links: int
    """Links of a chip: two for each dimension of a TPU's torus; all to one switch for NVLink."""
    network_bandwidth: float | None
    """Bytes/s of a device's share of its host's network in one direction; None: not published."""
    torus_dims: int = 0
    """Dimensions of the torus of a pod; 0: a switch, every device as near as every other."""
    peak_flops_tf32: float | None = None
    """FLOP/s of tensor cores that read float32 as TF32, dense; None: there is no such mode."""
    devices_per_chip: int = 1
    """Devices of jax that share a chip and its links."""
    devices_per_host: int = 8
    """Devices of a full host."""

    def peak(self, dtype: str) -> float:
        """FLOP/s of matrix products with operands of `dtype`, as jax computes them by default.

        That is TF32 for float32 on GPUs; a TPU rounds float32 operands to bfloat16.
        """
        if dtype == "float32" and self.peak_flops_tf32 is not None:
            return self.peak_flops_tf32
        return self.peak_flops

    @property
    def collective_bandwidth(self) -> float:
        """Bytes/s that leave a chip when all of its links are busy."""
        return self.link_bandwidth * self.num_links


# TPUs. Sources: Google Cloud's pages "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e", "TPU7x (Ironwood)"
# (docs.cloud.google.com/tpu/docs). They give the interconnect as a chip's bandwidth over all ports
# in both directions, v5e 400, v5p 1200, v6e 800, TPU7x 1200 GB/s, divided here by ports and
# directions; v4's is in its paper (Jouppi et al. 2023, arXiv 2304.01433, table 4: 6 links of 50
# GB/s). "How to Scale Your Model" (jax-ml.github.io/scaling-book) reckons with 90% of all these.
# DCN is given for a chip (v5p 50, v6e 100, TPU7x 100 Gbit/s) or for a host (v5e 2 x 100 Gbit/s).
# Which chips are two devices: `ChipVersion` in jax/_src/pallas/mosaic/tpu_info.py.
#
# GPUs: the SXM modules. Sources: NVIDIA's datasheets "A100", "H100" and "H200 Tensor Core GPU",
# "HGX B200", "DGX B200"; compute is half of what is printed "with sparsity". Network: one adapter
# for each GPU, as in NVIDIA's DGX A100 (200 Gbit/s), H100, H200 and B200 (400 Gbit/s).
DEVICES = (
    Device(
        name="v4",
        kinds=("TPU v4",),
        peak_flops=275 * TERA,
        memory=32 * GIB,
        memory_bandwidth=1200 * GB,
        link_bandwidth=50 * GB,
        num_links=6,
        torus_dims=3,
        network_bandwidth=None,
        devices_per_host=4,
    ),
    Device(
        name="v5e",
        kinds=("TPU v5 lite", "TPU v5e"),
        peak_flops=197 * TERA,
        memory=16 * GIB,
        memory_bandwidth=819 * GB,
        link_bandwidth=50 * GB,
        num_links=4,
        torus_dims=2,
        network_bandwidth=3.125 * GB,
    ),
    Device(
        name="v5p",
        kinds=("TPU v5", "TPU v5p"),
        peak_flops=459 * TERA,
        memory=95 * GIB,
        memory_bandwidth=2765 * GB,
        link_bandwidth=100 * GB,
        num_links=6,
        torus_dims=3,
        network_bandwidth=6.25 * GB,
        devices_per_host=4,
    ),
    Device(
        name="v6e",
        kinds=("TPU v6 lite", "TPU v6e"),
        peak_flops=918 * TERA,
        memory=32 * GIB,
        memory_bandwidth=1638 * GB,
        link_bandwidth=100 * GB,
        num_links=4,
        torus_dims=2,
        network_bandwidth=12.5 * GB,
    ),
    Device(
        name="tpu7x",
        kinds=("TPU7x",),
        peak_flops=2307 * TERA / 2,
        memory=192 * GIB / 2,
        memory_bandwidth=7380 * GB / 2,
        link_bandwidth=100 * GB,
        num_links=6,
        torus_dims=3,
        network_bandwidth=12.5 * GB / 2,
        devices_per_chip=2,
    ),
    Device(
        name="A100-40GB",
        kinds=("NVIDIA A100-SXM4-40GB",),
        peak_flops=312 * TERA,
        peak_flops_tf32=156 * TERA,
        memory=40 * GB,
        memory_bandwidth=1555 * GB,
        link_bandwidth=25 * GB,
        num_links=12,
        network_bandwidth=25 * GB,
    ),
    Device(
        name="A100",
        kinds=("NVIDIA A100-SXM4-80GB",),
        peak_flops=312 * TERA,
        peak_flops_tf32=156 * TERA,
        memory=80 * GB,
        memory_bandwidth=2039 * GB,
        link_bandwidth=25 * GB,
        num_links=12,
        network_bandwidth=25 * GB,
    ),
    Device(
        name="H100",
        kinds=("NVIDIA H100 80GB HBM3",),
        peak_flops=989 * TERA,
        peak_flops_tf32=494.5 * TERA,
        memory=80 * GB,
        memory_bandwidth=3350 * GB,
        link_bandwidth=25 * GB,
        num_links=18,
        network_bandwidth=50 * GB,
    ),
    Device(
        name="H200",
        kinds=("NVIDIA H200",),
        peak_flops=989 * TERA,
        peak_flops_tf32=494.5 * TERA,
        memory=141 * GB,
        memory_bandwidth=4800 * GB,
        link_bandwidth=25 * GB,
        num_links=18,
        network_bandwidth=50 * GB,
    ),
    Device(
        name="B200",
        kinds=("NVIDIA B200",),
        peak_flops=2250 * TERA,
        peak_flops_tf32=1100 * TERA,
        memory=180 * GB,
        memory_bandwidth=8000 * GB,
        link_bandwidth=50 * GB,
        num_links=18,
        network_bandwidth=50 * GB,
    ),
)


def device_named(name: str) -> Device:
    """The device of a short name ("v5p") or of what jax calls it ("TPU v5").

    Raises:
        InputError: none is called that; names the nearest.
    """
    named = {alias: device for device in DEVICES for alias in (device.name, *device.kinds)}
    if name not in named:
        raise unknown_name("device", name, named)
    return named[name]
