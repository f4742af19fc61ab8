"""The GPU memory and time that a replica's process takes, by NVIDIA's driver, recorded in the metrics."""

import os
import time
from collections.abc import Callable
from typing import Any

import pynvml

from cluster.gpus import GB
from cluster.metrics.declared import GPU_MEMORY, GPU_USE
from cluster.metrics.recording import record
from deployments.models import devices

EVERY_S = 10.0  # Ray drops a gauge that is older than 20 s


class GpuUsage:
    """Reports the usage of this process, at most every EVERY_S. `detectors`: the label."""

    def __init__(self, detectors: str, nvml: Any = pynvml, clock: Callable[[], float] = time.monotonic) -> None:
        self._detectors, self._nvml, self._clock = detectors, nvml, clock
        self._due = 0.0
        self._seen_us = 0  # of the driver's newest sample that was read, in microseconds

    def report(self) -> None:
        """Record memory and utilization, if they are due. Without a driver, or with one that fails, memory only.

        A driver names processes as the host does: to a process of a container its own is unknown. Then the memory is
        what torch has reserved, without the context of CUDA and without other libraries.
        """
        if self._clock() < self._due:
            return
        self._due = self._clock() + EVERY_S
        memory, share = None, None
        try:
            self._nvml.nvmlInit()
            try:
                memory, share = self._of_process(os.getpid())
            finally:
                self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:  # a GPU that fell off the bus, or a driver that was updated
            pass
        record(GPU_MEMORY, devices.memory_gb()["card"] * GB if memory is None else memory, detectors=self._detectors)
        if share is not None:
            record(GPU_USE, share, detectors=self._detectors)

    def _of_process(self, pid: int) -> tuple[float | None, float | None]:
        """Bytes, and share of the time from 0 to 1, of a process on all GPUs; None: the driver does not know it."""
        memory: float | None = None
        share: float | None = None
        newest = self._seen_us
        for n in range(self._nvml.nvmlDeviceGetCount()):
            gpu = self._nvml.nvmlDeviceGetHandleByIndex(n)
            used = [p.usedGpuMemory for p in self._nvml.nvmlDeviceGetComputeRunningProcesses(gpu) if p.pid == pid]
            if not used:
                continue
            memory = (memory or 0.0) + sum(value or 0 for value in used)
            samples = [s for s in self._samples(gpu) if s.pid == pid]
            share = (share or 0.0) + max((s.smUtil for s in samples), default=0) / 100
            newest = max([newest, *(s.timeStamp for s in samples)])
        self._seen_us = newest
        return memory, share

    def _samples(self, gpu: Any) -> list[Any]:
        try:
            return list(self._nvml.nvmlDeviceGetProcessUtilization(gpu, self._seen_us))
        except self._nvml.NVMLError:  # it has no samples since then
            return []
