"""Tables: what is kept of RoutingTables."""

from pydantic import ValidationError

from tomoul.api.routingtable import RoutingTable
from tomoul.controller.children import Child, child_of
from tomoul.controller.sharing import shared
from tomoul.kube.client import Object


class RoutingTableReader:
    """RoutingTables; a spec is read once per generation: gateways write into the status far more often.

    One that does not parse (somebody else's, or of another version) counts as not read.
    """

    def __init__(self) -> None:
        self._read: dict[str, RoutingTable] = {}

    def __call__(self, item: Object) -> Child[RoutingTable | None]:
        """One RoutingTable."""
        metadata = item["metadata"]
        known = self._read.get(metadata["name"])
        same = (metadata["uid"], metadata.get("generation", 0))
        try:
            if known is not None and (known.metadata.uid, known.metadata.generation) == same:
                lean = {**item, "spec": {"region": known.spec.region}}
                table = RoutingTable.model_validate(lean, extra="ignore").model_copy(update={"spec": known.spec})
            else:
                table = shared(RoutingTable.model_validate(item, extra="ignore"))
        except ValidationError:
            return child_of(item, None)
        self._read[metadata["name"]] = table
        return child_of(item, table)
