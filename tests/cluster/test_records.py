from cluster.records import Detection, Sample, Vector, asset_id, iso_time


def test_a_detection_is_moved_to_the_time_of_its_sample():
    assert Detection("a", 1).at(3.0).time_s == 3.0
    assert Detection("a", 1, span=(1.0, 2.0)).at(1800.0) == Detection("a", 1, span=(1801.0, 1802.0))
    assert Detection("a", 1).at(None) == Detection("a", 1)


def test_former_names_of_vector_spaces_are_replaced():
    former = [Vector(space, (1.0,)) for space in ("looks", "words", "faces")]
    assert [vector.space for vector in former] == ["image", "text", "faces"]
    assert former[0] == Vector("image", (1.0,))


def test_asset_ids_are_stable_and_unique():
    ids = {asset_id(f"s3://bucket/{n}") for n in range(1000)}
    assert len(ids) == 1000
    assert asset_id("s3://bucket/0") in ids
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)


def test_the_modality_of_a_sample_is_that_of_its_field():
    assert Sample(text="words").modality == "text"


def test_a_time_is_written_in_utc_with_milliseconds():
    assert iso_time(1_800_000_000.0) == "2027-01-15T08:00:00.000Z"
    assert iso_time(0.9996) == "1970-01-01T00:00:00.999Z"
