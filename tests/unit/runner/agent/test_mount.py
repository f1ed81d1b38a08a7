from loadstone_core.spec.digest import files_digest
from loadstone_runner.agent.mount import script_digest


def test_a_mounted_secret_has_the_digest_of_the_files_that_a_user_sees(tmp_path):
    hidden = tmp_path / "..2026_11_20_00_00_00.1"
    (hidden / "lib").mkdir(parents=True)
    (hidden / "test.py").write_bytes(b"one")
    (hidden / "lib" / "rows.csv").write_bytes(b"two")
    (tmp_path / "..data").symlink_to(hidden.name)
    (tmp_path / "test.py").symlink_to("..data/test.py")
    (tmp_path / "..link").symlink_to("..data/test.py")
    (tmp_path / "lib").symlink_to("..data/lib")

    assert script_digest(str(tmp_path)) == files_digest({"test.py": b"one", "lib/rows.csv": b"two"})


def test_what_python_compiles_is_not_part_of_the_script(tmp_path):
    (tmp_path / "test.py").write_bytes(b"one")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "test.cpython-311.pyc").write_bytes(b"compiled")
    (tmp_path / ".hidden").write_bytes(b"but a file")

    assert script_digest(str(tmp_path)) == files_digest({"test.py": b"one", ".hidden": b"but a file"})


def test_a_folder_that_is_not_there_holds_no_files(tmp_path):
    assert script_digest(str(tmp_path / "missing")) == files_digest({})
