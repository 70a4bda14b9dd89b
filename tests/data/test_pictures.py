"""Pixels of image files as a viewer shows them, and which files are images."""

import io
import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_ssl.data import load_attribute_folder, load_class_folders
from pyro_ssl.data.pictures import SUFFIXES, image_files, read_images, seen_size
from pyro_ssl.errors import DataError

# Red rises along the width, green along the height.
UPRIGHT = np.zeros((12, 20, 3), np.uint8)
UPRIGHT[..., 0], UPRIGHT[..., 1] = 10 * np.arange(20), 20 * np.arange(12)[:, None]

# What is stored, by EXIF's number of the orientation: the inverse of what a viewer does.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90(UPRIGHT, -1),
}


def save(path, array, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path, exif=exif, **options)
    return path


def test_photographs_are_upright(tmp_path):
    files = [save(tmp_path / f"{n}.png", array, n) for n, array in STORED.items()]
    found = read_images(files, 12, None)
    expected = torch.from_numpy(UPRIGHT[:, 4:16]).permute(2, 0, 1)
    for number, image in enumerate(found, 1):
        assert torch.equal(image, expected), f"orientation {number}"


def test_every_loader_reads_them_upright(tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            save(tmp_path / part / name / "0.jpg", STORED[6], 6, quality=95, subsampling=0)
    (tmp_path / "attributes.csv").write_text("file,on\ntrain/a/0.jpg,1\n")
    (tmp_path / "attributes.csv").write_text(
        "file,on,split\ntrain/a/0.jpg,1,train\ntest/a/0.jpg,0,test\n"
    )
    expected = torch.from_numpy(UPRIGHT[:, 4:16]).permute(2, 0, 1).float()
    for dataset, _ in (load_class_folders(tmp_path, 12), load_attribute_folder(tmp_path, 12)):
        for image in (*dataset.train_xs.float(), *(dataset.test_xs * 255)):
            assert (image - expected).abs().max() < 12


def test_a_broken_exif_is_no_reason_to_refuse_an_image(tmp_path):
    plain = Image.fromarray(UPRIGHT)
    for number, broken in enumerate((b"Exif\0\0", b"Exif\0\0garbage!", b"garbage")):
        plain.save(tmp_path / f"{number}.png", exif=broken)
    found = read_images(image_files(tmp_path), 12, None)
    assert (found == torch.from_numpy(UPRIGHT[:, 4:16]).permute(2, 0, 1)).all()


def pixel(path):
    return read_images([path], 4, None)[0, :, 1, 1].tolist()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_become_eight(tmp_path, name):
    for value, expected in ((0, 0), (257 * 100, 100), (65535, 255), (300, 1)):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / name)
        assert pixel(tmp_path / name) == [expected] * 3


def test_modes_become_the_colours_that_are_shown(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    pictures = {
        "palette": (palette, {}, [10, 20, 30]),
        "hidden entry": (palette, {"transparency": 1}, [255] * 3),
        "clear": (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), {}, [255] * 3),
        "half": (Image.new("RGBA", (4, 4), (0, 100, 255, 51)), {}, [204, 224, 255]),
        "opaque": (Image.new("RGBA", (4, 4), (10, 20, 30, 255)), {}, [10, 20, 30]),
        "grey and alpha": (Image.new("LA", (4, 4), (40, 0)), {}, [255] * 3),
        "grey": (Image.new("L", (4, 4), 40), {}, [40] * 3),
        "one bit": (Image.new("1", (4, 4), 1), {}, [255] * 3),
        "keyed": (Image.new("RGB", (4, 4), (1, 2, 3)), {"transparency": (1, 2, 3)}, [255] * 3),
    }
    for name, (picture, options, expected) in pictures.items():
        picture.save(tmp_path / "a.png", **options)
        assert pixel(tmp_path / "a.png") == expected, name
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert pixel(tmp_path / "a.tif") == [255, 0, 0]


def test_what_is_no_image_of_a_known_range_is_named(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "real.tif")
    (tmp_path / "text.png").write_text("no image")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    for name, says in {
        "real.tif": "pixels of mode F, whose range is unknown.*convert it to an RGB image",
        "text.png": "cannot identify",
        "cut.png": "truncated",
        "lacking.png": "No such file",
    }.items():
        with pytest.raises(DataError, match=f"{name} cannot be read as an image .*{says}"):
            read_images([tmp_path / name], 4, None)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_a_file_of_several_images_is_named(tmp_path, name):
    first, second = (Image.fromarray(array) for array in (UPRIGHT, 255 - UPRIGHT))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with pytest.raises(DataError, match=f"{name} cannot be read as an image .2 images in one f"):
        read_images([tmp_path / name], 4, None)
    first.save(tmp_path / name)
    assert read_images([tmp_path / name], 4, None).shape == (1, 3, 4, 4)
    # A telephone's photograph has a preview with it.
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert abs(pixel(tmp_path / "a.jpg")[0] - pixel(tmp_path / name)[0]) < 12


def test_an_image_above_pillows_limit_is_named(tmp_path, monkeypatch):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for read in (seen_size, lambda file: read_images([file], 4, None)):
        with pytest.raises(DataError, match=r"a\.png cannot be read as an image .*exceeds limit"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
def test_damaged_files_lead_to_no_other_error(tmp_path, kind):
    rng, held = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(held, kind)
    whole, file = held.getvalue(), tmp_path / "a.png"
    for cut in range(25):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 150), 4):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged[: None if cut % 2 else rng.integers(len(whole))])
        for read in (seen_size, lambda file: read_images([file], 4, None)):
            with suppress(DataError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(file)


def test_a_reader_that_fails_in_any_way_is_named(tmp_path, monkeypatch):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: struct.unpack(">I", b""))
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image .unpack requires"):
        read_images([tmp_path / "a.png"], 4, None)


def test_hidden_files_are_no_images(tmp_path):
    shown = [f"{number}{suffix}" for number, suffix in enumerate(SUFFIXES)] + ["90.JPG"]
    hidden = ["._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png", "notes.txt", "x"]
    for name in (*shown, *hidden):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in image_files(tmp_path)] == shown
