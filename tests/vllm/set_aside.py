"""Run by vLLM's own Python: sets memory aside for what the pods of a replica offload, as the first of them does.

Once as much as there is easily room for, and once a little more than that for all the pods together.
"""

import json
import os
import shutil
import sys
from typing import Any

os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"

from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion

pods, page = int(sys.argv[1]), SharedOffloadRegion.BLOCK_SIZE_ALIGNMENT


def told(chunks: int) -> dict[str, Any]:
    where = {"engine_id": f"test-{os.getpid()}", "rank": 0, "kv_bytes_per_chunk": pods * page, "cpu_page_size": page}
    try:
        region = SharedOffloadRegion(num_chunks=chunks, barrier=lambda: None, **where)
    except RuntimeError as error:
        return {"error": str(error)}
    return {"whole": region.total_size_bytes, "filled": os.fstat(region.fd).st_blocks * 512}


room = shutil.disk_usage("/dev/shm").free
json.dump({"little": told(1024), "much": told(room // (pods * page) + 1)}, sys.stdout)
