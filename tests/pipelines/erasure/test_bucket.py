"""An erasure of results that lie in a bucket."""

from cluster.records import asset_id
from pipelines.erasure import collecting, proof, rewriting
from pipelines.erasure.pending import Erasure
from pipelines.erasure.selection import Wanted, select
from tests.support.machine import GONE, JOB, STAYS, Machine, traces

OUT = "s3://erased/found/case-7"


def test_a_file_is_erased_from_results_and_folders_of_jobs_in_a_bucket(s3, tmp_path, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    machine, client = Machine(tmp_path / "machine"), s3.client()
    client.create_bucket(Bucket="erased")
    for file in machine.results.rglob("*.*"):
        if file.is_file() and not file.name.startswith("."):
            client.upload_file(str(file), "erased", f"found/case-7/{file.relative_to(machine.results)}")
    selected = select(Wanted(assets=frozenset([asset_id(GONE)])), [OUT], s3.endpoint)
    assert (selected.files, selected.rows) == ({GONE: None}, 2)
    erasure = Erasure(id="e1", by="ann", began="now", selected_by="asset", outs=[OUT], files=selected.files)
    collecting.collect(erasure, s3.endpoint)
    settings = machine.settings.model_copy(update={"s3_endpoint_url": s3.endpoint})
    store = f"results {OUT}"
    assert sum(proof.prove(erasure, settings).stores[store].traces.values()) > 10
    assert rewriting.erase_results(erasure, s3.endpoint) == {"rows": 2}
    assert rewriting.erase_job_folders(erasure, s3.endpoint) == 6
    proved = proof.prove(erasure, settings).stores[store]
    assert sum(proved.traces.values()) == 0 and proved.files == 8
    found = Machine(tmp_path / "copy")
    for entry in client.list_objects_v2(Bucket="erased")["Contents"]:
        client.download_file("erased", entry["Key"], str(found.results / entry["Key"].removeprefix("found/case-7/")))
    left = [file for file in found.holding(*traces(GONE)) if file.startswith("results/")]
    assert left == ["results/.3.parquet.part"], "which was not uploaded"
    assert f"results/_raysift/jobs/{JOB}/ledger/000000.parquet" in found.holding(STAYS.encode())
