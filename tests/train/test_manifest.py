import os

import pytest

from train.manifest import (
    COMMITTED,
    METADATA,
    Damaged,
    check_files,
    hashed_files,
    hashes,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "d").mkdir()
    for i in range(5):
        (tmp_path / "d" / f"{i}").write_bytes(bytes(range(100 + i)))
    found = hashes(tmp_path, hashed_files(tmp_path))
    write_manifest(tmp_path, {"metrics": {}, "params": {}, "files": found})
    (tmp_path / METADATA).write_text('{"time": 1}')
    (tmp_path / COMMITTED).write_text(f"successful to {tmp_path}")
    return tmp_path


def test_whole(folder):
    manifest = read_manifest(folder)
    assert sorted(manifest["files"]) == [f"d/{i}" for i in range(5)]
    check_files(folder, manifest)


def test_a_file_cut_anywhere_is_noticed(folder):
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        for size in (0, 1, len(whole) - 1):
            os.truncate(path, size)
            with pytest.raises(Damaged, match=path.name):
                check_files(folder, read_manifest(folder))
            path.write_bytes(whole)
    check_files(folder, read_manifest(folder))


def test_each_process_reads_its_share(folder):
    (folder / "d" / "3").unlink()
    manifest = read_manifest(folder)
    check_files(folder, manifest, share=0, of=2)
    with pytest.raises(Damaged, match="d/3 is missing"):
        check_files(folder, manifest, share=1, of=2)
