import numpy as np
import pytest
from PIL import Image

from pyro_ssl.command import image_files
from pyro_ssl.command.delimited import DelimitedFile
from pyro_ssl.command.formats import format_of
from pyro_ssl.command.image_files import ImageSource, images_in_folder, images_in_table
from pyro_ssl.command.parts import joined
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
RECIPE = Recipe("images")


def draw(path, size=(8, 8), grey=False):
    """Write an image, and return its pixels as channels first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0]) + (() if grey else (3,)), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0)


@pytest.fixture
def folder(tmp_path):
    for name in ("cat/b.png", "cat/a.png", "dog/a.png", "unlabelled/z.png", "unlabelled/y.png"):
        draw(tmp_path / name)
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    return tmp_path


def test_folders_are_classes_but_for_one(folder):
    found = images_in_folder(folder, None)
    assert found.names == ["cat/a.png", "cat/b.png", "dog/a.png"] + [
        f"unlabelled/{n}.png" for n in "yz"
    ]
    assert found.labels.tolist() == ["cat", "cat", "dog", None, None]
    assert images_in_folder(folder, "dog").labels.tolist()[2:] == [None, "unlabelled", "unlabelled"]


def test_pixels_are_those_of_the_files_in_parts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_ROWS", 2)
    pixels = [draw(tmp_path / "c" / f"{n}.png") for n in range(5)]
    source = ImageSource.for_training(RECIPE, images_in_folder(tmp_path, None))
    parts = [*source.parts()]
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(joined(parts)[0], np.stack(pixels))
    assert parts[1].ids["image"].tolist() == ["c/2.png", "c/3.png"]


def test_grey_images_have_one_channel_and_coloured_ones_are_then_made_grey(tmp_path):
    pixels = draw(tmp_path / "c" / "0.png", grey=True)
    source = ImageSource.for_training(RECIPE, images_in_folder(tmp_path, None))
    (part,) = source.parts()
    assert source.recipe.channels == 1
    np.testing.assert_array_equal(part.rows[0], pixels)
    Image.fromarray(np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8)).save(tmp_path / "c" / "1.png")
    with pytest.warns(UserWarning, match="they become grey"):
        (part,) = ImageSource(source.recipe, images_in_folder(tmp_path, None)).parts()
    np.testing.assert_array_equal(part.rows[0], pixels)
    # Rounded from 0.299 of 255.
    assert (part.rows[1] == 76).all()


def test_other_sizes_are_refused_or_scaled(folder):
    draw(folder / "dog" / "wide.png", (20, 8))
    with pytest.raises(DataError, match=r"wide\.png has 20 x 8 pixels.*8 x 8.*--image-size"):
        ImageSource.for_training(RECIPE, images_in_folder(folder, None))
    sized = Recipe("images", image_size=4)
    source = ImageSource.for_training(sized, images_in_folder(folder, None))
    assert joined(source.parts())[0].shape == (6, 3, 4, 4)
    with pytest.raises(ConfigError, match="image_size is 0"):
        ImageSource.for_training(Recipe("images", image_size=0), images_in_folder(folder, None))


@pytest.mark.parametrize("content", [b"no image", b""])
def test_a_broken_image_is_named(folder, content):
    (folder / "dog" / "broken.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as an image"):
        ImageSource.for_training(RECIPE, images_in_folder(folder, None))


def test_an_image_whose_end_is_missing_is_named(folder):
    whole = (folder / "dog" / "a.png").read_bytes()
    (folder / "dog" / "a.png").write_bytes(whole[: len(whole) // 2])
    source = ImageSource.for_training(RECIPE, images_in_folder(folder, None))
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        [*source.parts()]


def test_folders_without_images(folder, tmp_path):
    (folder / "empty").mkdir()
    assert "empty" not in images_in_folder(folder, None).labels.tolist()
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").touch()
    with pytest.raises(DataError, match=r"notes has no images .*but read\.me"):
        images_in_folder(folder, None)
    with pytest.raises(DataError, match="has no images"):
        images_in_folder(folder / "empty", None)


def test_images_beside_folders_have_no_class(folder):
    draw(folder / "alone.png")
    with pytest.raises(DataError, match=r"beside folders, such as alone\.png"):
        images_in_folder(folder, None)
    found = images_in_folder(folder, None, flat=True)
    assert (found.names[0], found.labels[0]) == ("alone.png", None)


def test_a_table_names_images_from_its_folder(folder, monkeypatch, tmp_path_factory):
    file = folder / "list.csv"
    file.write_text("path,kind,note\ndog/a.png,dog,x\ncat/b.png,,y\ncat/a.png,?,z\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    recipe = Recipe("images", label_column="kind", image_column="path", unlabelled="?")
    found = images_in_table(DelimitedFile(file, None, None), recipe)
    assert found.labels.tolist() == ["dog", None, None]
    source = ImageSource.for_training(recipe, found)
    (part,) = source.parts()
    assert part.ids["image"].tolist() == ["dog/a.png", "cat/b.png", "cat/a.png"]
    truth = np.moveaxis(np.asarray(Image.open(folder / "cat" / "b.png")), -1, 0)
    np.testing.assert_array_equal(part.rows[1], truth)
    assert source.files[0] == file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,kind\ndog/a.png,dog\n", "no column 'path'"),
        ("path\ndog/a.png\n", "no column 'kind'"),
        ("path,kind\ndog/a.png,dog\n,cat\n", "no path in column 'path' of row 2"),
        ("path,kind\ndog/none.png,dog\n", r"none\.png cannot be read"),
    ],
)
def test_tables_that_lack_something(folder, content, message):
    (folder / "list.csv").write_text(content)
    recipe = Recipe("images", label_column="kind", image_column="path")
    table = DelimitedFile(folder / "list.csv", None, None)
    with pytest.raises(DataError, match=message):
        ImageSource.for_training(recipe, images_in_table(table, recipe))


def test_files_beside_images_are_named(folder):
    (folder / "dog" / "a.heic").touch()
    with pytest.warns(UserWarning, match=r"^a\.heic in .*dog left out, which are not images"):
        images_in_folder(folder, None)
    (folder / "dog" / "a.heic").unlink()
    draw(folder / "b.png")
    (folder / "c.heic").touch()
    with pytest.warns(UserWarning, match=r"^c\.heic in "):
        found = images_in_folder(folder, None, flat=True)
    assert found.names[0] == "b.png"


def test_hidden_folders_do_not_make_a_folder_another_format(folder):
    (folder / ".cache" / "more").mkdir(parents=True)
    np.save(folder / ".cache" / "more" / "a.npy", np.zeros(3))
    assert format_of(folder) == "images"
