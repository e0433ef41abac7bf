import pytest

from flaxformers_edu.devices import DEVICES, Device, device_named
from flaxformers_edu.errors import InputError


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TPU v5", "v5p"),
        ("TPU v5 lite", "v5e"),
        ("TPU7x", "tpu7x"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("v6e", "v6e"),
    ],
)
def test_by_its_name_and_by_what_jax_calls_it(kind, name):
    assert device_named(kind).name == name


def test_no_two_share_a_name():
    aliases = [alias for device in DEVICES for alias in (device.name, *device.kinds)]
    assert len(aliases) == len(set(aliases))


def test_an_unknown_one_names_the_nearest():
    with pytest.raises(InputError, match="unknown device 'v5q'; did you mean 'v5p'"):
        device_named("v5q")


def test_float32_is_what_the_device_makes_of_it():
    """Tensor cores read it as TF32, at half the speed; a TPU's matrix unit rounds to bfloat16."""
    h100, v5p = device_named("H100"), device_named("v5p")
    assert h100.peak("float32") == h100.peak("bfloat16") / 2
    assert v5p.peak("float32") == v5p.peak("bfloat16") == 459e12


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_agrees_with_jax(device: Device):
    """The table that jax keeps for its Pallas kernels, where it has the device."""
    from jax._src.pallas.mosaic import tpu_info

    version = tpu_info.chip_version_from_device_kind(device.kinds[0])
    if version is None:
        assert device.torus_dims == 0  # a GPU
        return
    cores = version.num_physical_tensor_cores_per_chip // device.devices_per_chip
    info = tpu_info.get_tpu_info_for_chip(version, cores)
    assert device.peak_flops == pytest.approx(cores * info.bf16_ops_per_second, rel=0.01)
    assert device.memory == pytest.approx(cores * info.hbm_capacity_bytes, rel=0.02)
    # jax has 2.46 TB/s for v5p where Google's page has 2.765.
    tolerance = 0.15 if device.name == "v5p" else 0.03
    bandwidth = cores * info.mem_bw_bytes_per_second
    assert device.memory_bandwidth == pytest.approx(bandwidth, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "published"), [("v5e", 400e9), ("v5p", 1200e9), ("v6e", 800e9), ("H100", 900e9)]
)
def test_links_add_up_to_the_published_bandwidth_of_both_directions(name, published):
    assert 2 * device_named(name).collective_bandwidth == published


def test_two_dimensions_have_four_links():
    for device in DEVICES:
        if device.torus_dims:
            assert device.num_links == 2 * device.torus_dims, device.name
