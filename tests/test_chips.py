from importlib.resources import files

import pytest

from ds2ta_deploy.chips import CHIPS, read_chip
from ds2ta_deploy.errors import InputError


@pytest.mark.parametrize("name", CHIPS)
def test_every_number_says_where_it_comes_from(name):
    chip = read_chip(name)
    assert chip.name == name
    for group in (chip.limits, chip.features):
        for field in group.__struct_fields__:
            entry = getattr(group, field)
            if entry is not None:
                assert len(entry.source) > 10, field
    assert {"weight_bits", "state_bits"} < set(chip.limits.__struct_fields__)


def test_a_file_of_the_same_format_may_be_given(tmp_path):
    path, source = tmp_path / "mine.toml", files("ds2ta_deploy.chips").joinpath("loihi2.toml").read_text()
    path.write_text(source.replace('name = "loihi2"', 'name = "mine"').replace("value = 8192", "value = 100"))
    chip = read_chip(str(path))
    assert (chip.name, chip.limits.neurons_per_core.value) == ("mine", 100)
    assert chip.limits.state_bits == read_chip("loihi2").limits.state_bits


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("value = 128,", "value = 0,", "limits.cores_per_chip"),
        ("value = 128,", "value = 'many',", "does not describe a chip"),
        ("[features]", "[other]", "does not describe a chip"),
        ('schema = "ds2ta-chip/1"', 'schema = "ds2ta-chip/9"', "does not describe a chip"),
        ("[limits]", "[limits", "does not describe a chip"),
    ],
)
def test_a_file_that_is_no_chip(tmp_path, old, new, said):
    source = files("ds2ta_deploy.chips").joinpath("loihi1.toml").read_text()
    assert old in source
    (tmp_path / "c.toml").write_text(source.replace(old, new, 1))
    with pytest.raises(InputError, match="DS2TA-165") as caught:
        read_chip(str(tmp_path / "c.toml"))
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["loihi3", "", ".", "a\0b"])
def test_a_chip_that_is_not_there(name):
    with pytest.raises(InputError, match="DS2TA-165"):
        read_chip(name)
