from ds2ta_deploy.energy.attention import paper_table


def test_table_3_of_the_paper_as_it_is_printed():
    rows = paper_table()
    assert [row.energy_before for row in rows] == [7.69, 6.93, 6.28, 5.19]
    assert [row.energy_after for row in rows] == [0.90, 0.65, 0.56, 0.42]
    assert [f"{row.saving:.1f}" for row in rows] == ["88.3", "90.6", "91.1", "91.9"]


def test_the_sparsities_alone_round_otherwise_in_one_block():
    assert [f"{row.saving_unrounded:.1f}" for row in paper_table()] == ["88.3", "90.6", "91.2", "91.9"]
