from cluster.records import Detection, Sample, Vector, asset_id


def test_moves_what_was_seen_to_the_time_of_its_frame():
    assert Detection("a", 1).at(3.0).time_s == 3.0
    assert Detection("a", 1, span=(1.0, 2.0)).at(1800.0) == Detection("a", 1, span=(1801.0, 1802.0))
    assert Detection("a", 1).at(None) == Detection("a", 1)


def test_a_vector_of_before_comes_back_in_the_space_of_now():
    former = [Vector(space, (1.0,)) for space in ("looks", "words", "faces")]
    assert [vector.space for vector in former] == ["image", "text", "faces"]
    assert former[0] == Vector("image", (1.0,))


def test_an_asset_keeps_its_name_and_shares_it_with_none():
    ids = {asset_id(f"s3://bucket/{n}") for n in range(1000)}
    assert len(ids) == 1000
    assert asset_id("s3://bucket/0") in ids
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)


def test_a_sample_says_what_it_holds():
    assert Sample(text="words").modality == "text"
