"""Everything that can die dies, and nothing is lost and nothing is there twice. Longer: `jobs/benchmarks/chaos.py`."""

import os
import random
from collections.abc import Iterator

import pytest
from chaos_cluster import ChaosCluster
from chaos_proxy import chaos_proxy
from chaos_storm import ROOT, Rig, compare, storm
from photos import photo_bytes
from poison_files import POISON_PATH
from seaweed import seaweed

PNG = photo_bytes(0, 12, 12)

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.s3]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with pytest.MonkeyPatch.context() as patch, seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([POISON_PATH, str(ROOT)]))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with chaos_proxy(server.endpoint_url, seed=0) as proxy:
            cluster = ChaosCluster(num_nodes=2)
            yield Rig(server, proxy, cluster, limit_s=1500)
            cluster.close()


@pytest.mark.timeout(3000)
def test_a_small_storm_loses_nothing_and_doubles_nothing(rig: Rig) -> None:
    outcome = storm(rig, "small", num_images=16, driver_kills=1, share=0.05, chance=random.Random(1))
    assert outcome.kills, "nothing was killed: it was no storm"
    assert (outcome.lost, outcome.duplicated, outcome.mismatched, outcome.complaints) == (0, 0, 0, [])


@pytest.mark.slow
@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("seed", range(3))
def test_storms_lose_nothing_and_double_nothing(rig: Rig, seed: int) -> None:
    outcome = storm(rig, f"long-{seed}", 120, driver_kills=3, share=0.05, chance=random.Random(seed))
    assert (outcome.lost, outcome.duplicated, outcome.mismatched, outcome.complaints) == (0, 0, 0, [])


def test_the_comparison_sees_what_is_lost_doubled_changed_or_left_behind(rig: Rig) -> None:
    rig.run(rig.bucket("seen", files := {"a.png": PNG, "b.png": PNG, "c.png": PNG}), "out")
    rig.bucket("calm", files)
    rig.run("calm", "out")
    admin = rig.server.admin()
    assert compare(rig.server, "seen", files, "calm").complaints == []
    admin.put_object(Bucket="seen", Key="out/images/a.png", Body=b"changed")
    admin.put_object(Bucket="seen", Key="out/images/stranger.png", Body=b"left behind")
    part = admin.list_objects_v2(Bucket="seen", Prefix="out/manifest/")["Contents"][0]["Key"]
    data = admin.get_object(Bucket="seen", Key=part)["Body"].read()
    admin.put_object(Bucket="seen", Key="out/manifest/part-again.parquet", Body=data)
    found = compare(rig.server, "seen", files | {"lost.png": PNG}, "calm")
    assert found.lost == 1
    assert found.duplicated >= 1
    assert found.mismatched == 2
