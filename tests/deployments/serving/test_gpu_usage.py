"""GPU memory and time of a process, as a stand-in for NVIDIA's library reports them."""

import os
from types import SimpleNamespace

from deployments.serving.gpu_usage import EVERY_S, GpuUsage
from tests.cluster.metrics.recorded import recorded


class Driver:
    """A stand-in for the used part of pynvml: two GPUs, this process on the second one."""

    class NVMLError(Exception):
        pass

    def __init__(self, pid):
        self.pid = pid
        self.since = []  # timestamps that were asked for

    def nvmlInit(self):
        if self.pid is None:
            raise self.NVMLError

    def nvmlShutdown(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, n):
        return n

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        return [SimpleNamespace(pid=1, usedGpuMemory=9)] + [SimpleNamespace(pid=self.pid, usedGpuMemory=3 << 30)] * gpu

    def nvmlDeviceGetProcessUtilization(self, gpu, since):
        self.since.append(since)
        if len(self.since) > 1:
            raise self.NVMLError  # nothing new
        return [SimpleNamespace(pid=self.pid, smUtil=40, timeStamp=77), SimpleNamespace(pid=1, smUtil=9, timeStamp=99)]


def test_memory_and_utilization_of_the_process_are_reported_every_ten_seconds():
    now = [0.0]
    driver = Driver(os.getpid())
    usage = GpuUsage("ocr", driver, lambda: now[0])
    with recorded() as values:
        for seconds in (0.0, EVERY_S - 1, EVERY_S):
            now[0] = seconds
            usage.report()
    labels = {"detectors": "ocr"}
    memory, idle = ("raysift_gpu_memory_bytes", float(3 << 30), labels), ("raysift_gpu_utilization_ratio", 0.0, labels)
    assert values == [memory, ("raysift_gpu_utilization_ratio", 0.4, labels), memory, idle]
    assert driver.since == [0, 77]


def test_a_process_that_the_driver_does_not_know_reports_what_torch_has_reserved():
    for pid in (os.getpid() + 1, None):
        with recorded() as values:
            GpuUsage("ocr", Driver(pid)).report()
        assert values == [("raysift_gpu_memory_bytes", 0.0, {"detectors": "ocr"})]
