"""Claims about image files: what of a file a person sees, and which files are refused."""

import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from pydantic import ValidationError
from trees.algonauts import write_algonauts_tree
from trees.modalities import MODALITIES

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.errors import ImageError
from gradbrain.datasets.images import (
    MOST_PIXELS,
    content_sha256,
    load_image,
    look_at_image,
    read_picture,
)
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.locators import parse_locator
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.datasets.things_images import things_stimuli

GREY, WHITE, GREEN, RED = (128, 128, 128), (255, 255, 255), (0, 200, 0), (255, 0, 0)
ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(4, 6, 3), dtype=np.uint8)
# What the EXIF standard says of the first row and column of the file, as operations on arrays.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 20 20
%%EndComments
1 0 0 setrgbcolor 0 0 20 20 rectfill
showpage
%%EOF
"""


def read(path, **more):
    return load_image("file", {"path": str(path), **more})


def exif(orientation):
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = orientation
    return found


def chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(width, height, *, depth, colour, rows=b"", extra=b""):
    """Bytes of a PNG file as the standard has them: sizes and depths that Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


# --- orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("ending", "how"), [("png", {}), ("webp", {"lossless": True})])
def test_each_orientation_is_set_upright(tmp_path, orientation, ending, how):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(PIXELS).save(path, exif=exif(orientation), **how)
    np.testing.assert_array_equal(read(path), UPRIGHT[orientation](PIXELS))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_decoded_and_then_turned(tmp_path, orientation):
    Image.fromarray(PIXELS).save(tmp_path / "flat.jpg")
    Image.fromarray(PIXELS).save(tmp_path / "turned.jpg", exif=exif(orientation))
    np.testing.assert_array_equal(
        read(tmp_path / "turned.jpg"), UPRIGHT[orientation](read(tmp_path / "flat.jpg"))
    )


def test_a_portrait_is_higher_than_wide(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif(6))
    assert read(tmp_path / "a.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_the_standard_does_not_know_turns_nothing(tmp_path, orientation):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif(orientation))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), PIXELS)


def test_damaged_exif_data_turn_nothing_and_are_told(tmp_path, caplog):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=b"Exif\0\0no header of EXIF data")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), PIXELS)
    assert "a.png: its EXIF data cannot be read" in caplog.text


# --- transparency ------------------------------------------------------------------------------


def rgba(path):
    pixels = np.array([[[*RED, 0], [*GREEN, 255]]], dtype=np.uint8)
    Image.fromarray(pixels).save(path, lossless=True)


def palette(path, transparency):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    image.putpalette([*RED, *GREEN])
    image.save(path, transparency=transparency)


def one_colour_key(path):
    Image.fromarray(np.array([[RED, GREEN]], dtype=np.uint8)).save(path, transparency=RED)


TRANSPARENT = {
    "rgba.png": rgba,
    "rgba.webp": rgba,
    "palette_entry.png": lambda path: palette(path, 0),
    "palette_chunk.png": lambda path: palette(path, bytes([0, 255])),
    "palette.gif": lambda path: palette(path, 0),
    "colour_key.png": one_colour_key,
}


@pytest.mark.parametrize("name", TRANSPARENT)
@pytest.mark.parametrize("ground", [WHITE, GREY])
def test_transparent_pixels_show_the_ground_and_not_what_they_hide(tmp_path, name, ground):
    TRANSPARENT[name](tmp_path / name)
    found = read(tmp_path / name, background=list(ground))
    np.testing.assert_array_equal(found, [[ground, GREEN]])
    assert read_picture(tmp_path / name, background=ground).locator_keys == {
        "background": list(ground)
    }


def test_the_ground_is_white_where_none_is_said(tmp_path):
    rgba(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[WHITE, GREEN]])


def test_grey_images_with_alpha_lie_on_the_ground(tmp_path):
    pixels = np.array([[[10, 0], [70, 255]]], dtype=np.uint8)
    Image.fromarray(pixels, mode="LA").save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", background=[1, 2, 3])
    np.testing.assert_array_equal(found, [[(1, 2, 3), (70, 70, 70)]])


@pytest.mark.parametrize(("depth", "shown"), [(1, 255), (2, 85), (4, 17), (8, 1)])
def test_the_transparent_grey_of_any_depth_lies_on_the_ground(tmp_path, depth, shown):
    # Two pixels, samples 0 and 1; 0 is transparent, then 1 is.
    row = bytes([0, 0b01 << (8 - 2 * depth)]) if depth < 8 else bytes([0, 0, 1])
    for sample, expected in ((0, [GREY, (shown,) * 3]), (1, [(0, 0, 0), GREY])):
        extra = chunk(b"tRNS", struct.pack(">H", sample))
        content = png(2, 1, depth=depth, colour=0, rows=row, extra=extra)
        (tmp_path / "a.png").write_bytes(content)
        np.testing.assert_array_equal(
            read(tmp_path / "a.png", background=list(GREY)), [expected], err_msg=str(sample)
        )


def test_what_shines_through_is_mixed(tmp_path):
    pixels = np.array([[[200, 0, 100, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    # A fifth of the colour and four fifths of the ground; integer arithmetic may round down.
    found = read(tmp_path / "a.png", background=[100, 50, 0])
    np.testing.assert_allclose(found, [[(120, 40, 20)]], atol=1)


def test_an_image_without_transparent_pixels_is_the_same_on_any_ground(tmp_path):
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, dtype=np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", background=GREY)
    np.testing.assert_array_equal(np.array(picture.rgb), PIXELS)
    assert picture.locator_keys == {}


def test_a_transparent_image_is_turned_too(tmp_path):
    pixels = np.array([[[*RED, 0], [*GREEN, 255]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[WHITE], [GREEN]])


# --- frames ------------------------------------------------------------------------------------


def frames(count):
    return [Image.new("RGB", (8, 8), (60 * n, 0, 0)) for n in range(count)]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.jpg"])
def test_animated_files_are_refused_with_the_number_of_frames(tmp_path, name):
    kind = {"a.gif": "GIF", "a.webp": "WEBP"}.get(name, "PNG")
    first, *others = frames(3)
    first.save(tmp_path / name, format=kind, save_all=True, append_images=others)
    message = rf"{name}: is animated, it has 3 frames, expected one; save the frame"
    with pytest.raises(ImageError, match=message):
        read(tmp_path / name)
    with pytest.raises(ImageError, match=message):
        look_at_image(tmp_path / name)


def test_a_gif_of_one_frame_is_read(tmp_path):
    image = Image.fromarray(PIXELS).quantize(256)
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read(tmp_path / "a.gif"), np.array(image.convert("RGB")))
    look_at_image(tmp_path / "a.gif")


def test_of_a_photograph_with_a_preview_the_photograph_is_read(tmp_path):
    photograph, preview = Image.fromarray(PIXELS), Image.new("RGB", (2, 2))
    photograph.save(tmp_path / "plain.jpg")
    photograph.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), read(tmp_path / "plain.jpg"))
    look_at_image(tmp_path / "a.jpg")


# --- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["EPS", "PDF", "TIFF", "BMP", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("reader", [read, look_at_image])
def test_other_formats_are_refused_by_content_whatever_their_name(tmp_path, kind, reader):
    if kind == "EPS":
        (tmp_path / "a.jpg").write_bytes(EPS)
    else:
        Image.fromarray(np.tile(PIXELS, (4, 4, 1))).save(tmp_path / "a.jpg", format=kind)
    named = {"JPEG2000": "JPEG 2000", "EPS": "EPS or PostScript", "AVIF": "HEIF or AVIF"}
    expected = "expected JPEG, PNG, WebP or GIF of one frame"
    with pytest.raises(ImageError, match=rf"a\.jpg: is {named.get(kind, kind)} .*, {expected}"):
        reader(tmp_path / "a.jpg")


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program `gs` that does nothing but leave a file where it was started."""
    trace, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n: > {trace}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return trace


def test_ghostscript_is_never_started(tmp_path, ghostscript):
    (tmp_path / "a.jpg").write_bytes(EPS)
    for reader in (read, look_at_image):
        with pytest.raises(ImageError, match=r"a\.jpg: is EPS"):
            reader(tmp_path / "a.jpg")
    assert not ghostscript.exists()
    # The fixture would tell: Pillow with all its formats starts it.
    with (
        pytest.raises((OSError, subprocess.SubprocessError)),
        Image.open(tmp_path / "a.jpg") as image,
    ):
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_a_format_that_is_read_may_have_another_name(tmp_path, kind):
    Image.new("RGB", (3, 2), GREEN).save(tmp_path / "a.jpg", format=kind, lossless=True)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), np.full((2, 3, 3), GREEN))


def test_a_photograph_in_inks_is_read_as_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    # Magenta and yellow on white paper are red; JPEG is exact to a few steps.
    np.testing.assert_allclose(read(tmp_path / "a.jpg"), np.full((8, 8, 3), RED), atol=4)


@pytest.mark.parametrize(
    ("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["L", "RGB", "LA", "RGBA"]
)
@pytest.mark.parametrize("reader", [read, look_at_image])
def test_png_files_of_16_bits_are_refused(tmp_path, colour, channels, reader):
    content = png(1, 1, depth=16, colour=colour, rows=bytes(1 + 2 * channels))
    (tmp_path / "deep.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"deep\.png: has .*16.*, expected 8 bits per channel"):
        reader(tmp_path / "deep.png")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_files_that_are_cut_short_are_refused(tmp_path, kind, share):
    noise = RNG.integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", format=kind)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match=r"a\.jpg: cannot be read as an image .*replace the"):
        read(tmp_path / "a.jpg")


# Pillow warns of the first and refuses the second itself.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("edge", [10_000, 30_000])
@pytest.mark.parametrize("reader", [read, look_at_image])
def test_images_too_large_to_decode_are_refused_with_the_limit(tmp_path, edge, reader):
    (tmp_path / "bomb.png").write_bytes(png(edge, edge, depth=8, colour=2))
    message = rf"bomb\.png: .*{edge**2}.* pixels.* the limit is {MOST_PIXELS} pixels; make it small"
    with pytest.raises(ImageError, match=message):
        reader(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_they_are_refused_where_warnings_are_errors(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(10_000, 10_000, depth=8, colour=2))
    with pytest.raises(ImageError, match=rf"bomb\.png: .* the limit is {MOST_PIXELS} pixels"):
        read(tmp_path / "bomb.png")


# --- adapters ----------------------------------------------------------------------------------

HIDDEN = ("._image_1.png", ".DS_Store", ".image_9.png", ".trash/image_8.png")


def write_images(folder, count=4, *, clear=False):
    """Images with noise; in the first, `clear` makes the left half transparent."""
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        if clear and not number:
            pixels[:, :4] = (*RED, 0)
        Image.fromarray(pixels).save(folder / "images" / f"image_{number}.png")


def write_hidden(folder):
    for name in HIDDEN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07 what a system leaves")


def entry_of(name, subject="own-s1", **options):
    return DatasetEntry(
        name="own",
        adapter=name,
        modality=MODALITIES["fmri"],
        subjects=[subject],
        stimuli=None if name == "algonauts2023" else "own",
        options=options,
    )


def arrays(folder):
    return entry_of("arrays", images="images/**/*.png", responses="r.npy", targets="t.csv")


def arrays_with_a_table(folder):
    rows = "".join(f"i{n},images/image_{n}.png\n" for n in range(4))
    (folder / "images.csv").write_text("image_id,file\n" + rows)
    return entry_of("arrays", table="images.csv", responses="r.npy", targets="t.csv")


def dissimilarity(folder):
    np.save(folder / "it.npy", 1 - np.eye(4))
    files = {"IT": {"path": "it.npy"}}
    return entry_of("dissimilarity", files=files, images="images/**/*", roi_order=["IT"])


def stimuli_of(entry, folder, **more):
    asked = entry.model_copy(update={"options": {**entry.options, **more}})
    options = read_options(asked)
    name = asked.stimuli or asked.subjects[0]
    return adapter(asked.adapter).stimuli(asked, options, name, folder)


@pytest.mark.parametrize("write", [arrays, dissimilarity])
def test_hidden_files_are_skipped(tmp_path, write):
    write_images(tmp_path)
    write_hidden(tmp_path / "images")
    entry = write(tmp_path)
    names = [f"image_{n}" for n in range(4)]
    assert list(stimuli_of(entry, tmp_path)["image_id"]) == names
    (images,) = (item for item in take_inventory(entry, tmp_path).items if "images" in item.path)
    assert (images.state, images.n_files) == ("there", 4)


@pytest.mark.parametrize("write", [arrays, dissimilarity])
def test_a_folder_of_hidden_files_alone_holds_no_images(tmp_path, write):
    entry = write(tmp_path)
    (tmp_path / "images").mkdir()
    write_hidden(tmp_path / "images")
    problems = adapter(entry.adapter).check(entry, read_options(entry), tmp_path)
    assert any("no file matches" in problem for problem in problems)
    with pytest.raises(GradbrainError, match="names begin with a dot are skipped"):
        stimuli_of(entry, tmp_path)


def test_hidden_files_are_skipped_where_the_folder_itself_is_hidden(tmp_path):
    home = tmp_path / ".data"
    write_images(home)
    write_hidden(home / "images")
    assert len(stimuli_of(arrays(home), home)) == 4


def test_hidden_files_among_the_images_of_a_challenge_are_skipped(tmp_path):
    write_algonauts_tree(tmp_path)
    entry = entry_of("algonauts2023", subject="own-subj01")
    before = stimuli_of(entry, tmp_path)
    folder = tmp_path / "subj01" / "training_split" / "training_images"
    (folder / "._train-0001_nsd-00013.png").write_bytes(b"\0\x05\x16\x07")
    assert stimuli_of(entry, tmp_path).equals(before)
    assert take_inventory(entry, tmp_path).obstacles("own-subj01") == []


@pytest.mark.parametrize("write", [arrays, arrays_with_a_table, dissimilarity])
def test_the_table_says_on_what_ground_an_image_lies(tmp_path, write):
    write_images(tmp_path, clear=True)
    entry = write(tmp_path)
    grounds = {"white": {}, "grey": {"background": list(GREY)}}
    digests = {}
    for name, option in grounds.items():
        table = stimuli_of(entry, tmp_path, **option)
        locators = [json.loads(locator) for locator in table["locator"]]
        ground = option.get("background", list(WHITE))
        assert locators[0]["background"] == ground
        # Of images without transparent pixels the table says what it always said.
        assert all(set(locator) == {"path"} for locator in locators[1:])
        for row in table.itertuples():
            pixels = load_image(row.loader, row.locator)
            assert content_sha256(pixels) == row.content_sha256
        first = load_image("file", table["locator"][0])
        assert (first[:, :4] == ground).all()
        digests[name] = list(table["content_sha256"])
    assert digests["white"][0] != digests["grey"][0]
    assert digests["white"][1:] == digests["grey"][1:]


def test_images_of_things_lie_on_the_ground(tmp_path):
    (tmp_path / "ant").mkdir()
    rgba(tmp_path / "ant" / "ant_01b.png")
    about = {"folder": tmp_path, "group": "image", "missing": "error", "name": "own"}
    table = things_stimuli(["ant/ant_01b.png"], **about, background=GREY)
    assert json.loads(table["locator"][0])["background"] == list(GREY)
    pixels = load_image("file", table["locator"][0])
    np.testing.assert_array_equal(pixels, [[GREY, GREEN]])
    assert content_sha256(pixels) == table["content_sha256"][0]


def test_crops_of_a_cut_out_photograph_lie_on_the_ground(tmp_path, monkeypatch):
    package = tmp_path / "package_of_cut_outs"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("whole", "cut_out"):
        pixels = RNG.integers(256, size=(64, 64, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        if name == "cut_out":
            pixels[::2] = (*RED, 0)
        Image.fromarray(pixels).save(package / f"{name}.png")
    monkeypatch.syspath_prepend(tmp_path)
    photographs = [f"{package.name}/{name}.png" for name in ("whole", "cut_out")]
    entry = entry_of("photographs", n_images=4, size=16, photographs=photographs)
    tables = [stimuli_of(entry, tmp_path, background=list(ground)) for ground in (WHITE, GREY)]
    for table, ground in zip(tables, (WHITE, GREY), strict=True):
        for row in table.itertuples():
            is_clear = row.group == "cut_out"
            assert json.loads(row.locator).get("background") == (list(ground) if is_clear else None)
            assert parse_locator(row.loader, row.locator).background == ground or not is_clear
            assert content_sha256(load_image(row.loader, row.locator)) == row.content_sha256
    white, grey = (set(table["content_sha256"]) for table in tables)
    assert white & grey == set(tables[0].loc[tables[0]["group"] == "whole", "content_sha256"])


def test_each_adapter_that_reads_image_files_takes_a_ground():
    with_ground = {
        name
        for name in LIBRARY_PLUGINS.names("adapters")
        if "background" in adapter(name).image_options.model_fields
    }
    # NSD's images are numbers without transparency; those of simulations are photographs.
    assert with_ground == set(LIBRARY_PLUGINS.names("adapters")) - {"nsd", "simulated"}


WRONG_GROUNDS = (
    [255, 255],
    [0, 0, 256],
    [0, -1, 0],
    [0.5, 0, 0],
    ["0", 0, 0],
    [True, 0, 0],
    "grey",
)


@pytest.mark.parametrize("ground", WRONG_GROUNDS, ids=str)
def test_a_ground_that_is_no_colour_is_refused(ground):
    entry = entry_of("arrays", images="*.png", background=ground)
    with pytest.raises(GradbrainError, match=r"'own'.*arrays.*background"):
        read_options(entry)
    with pytest.raises(ImageError, match="of loader 'file': background"):
        load_image("file", {"path": "a.png", "background": ground})


def test_locators_are_typed():
    crop = {"package": "skimage", "file": "data/coins.png", "box": [0, 0, 9], "size": 8}
    with pytest.raises(ImageError, match="of loader 'package_crop': box"):
        load_image("package_crop", crop)
    with pytest.raises(ImageError, match="of loader 'hdf5': index"):
        load_image("hdf5", {"path": "a", "dataset": "b", "index": "first"})
    with pytest.raises(ImageError, match="must hold exactly the keys path, and may hold backgr"):
        load_image("file", {"path": "a", "ground": [0, 0, 0]})
    with pytest.raises(ValidationError):
        parse_locator("file", {"path": "a"}).path = "b"


def test_the_docs_state_the_limit():
    assert f"{MOST_PIXELS:,} pixels" in (ROOT / "docs" / "data.md").read_text()
