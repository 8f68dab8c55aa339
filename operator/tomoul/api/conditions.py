"""The closed lists of condition types and reasons; docs/conditions.md explains each."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Aspects of a resource that have a condition."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    MODEL_READY = "ModelReady"
    WORKLOAD_READY = "WorkloadReady"
    ROUTES_PROGRAMMED = "RoutesProgrammed"
    CACHE_POLICY_ENFORCED = "CachePolicyEnforced"
    SEED_KEPT = "SeedKept"
    SCALING_ACTIVE = "ScalingActive"
    ADAPTERS_READY = "AdaptersReady"
    GATEWAYS_READY = "GatewaysReady"
    ENFORCED = "Enforced"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition has its status."""

    # Accepted
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_REGION = "UnknownRegion"
    UNREADABLE_REGION = "UnreadableRegion"
    UNKNOWN_ACCELERATOR = "UnknownAccelerator"
    UNSUPPORTED_BY_ENGINE = "UnsupportedByEngine"
    LEADER_WORKER_SET_MISSING = "LeaderWorkerSetMissing"
    MODEL_ID_CONFLICT = "ModelIdConflict"
    JURISDICTION_FORBIDDEN = "JurisdictionForbidden"
    REGION_DISABLED = "RegionDisabled"
    HOSTED_ELSEWHERE = "HostedElsewhere"
    # Scheduled
    ALL_PODS_SCHEDULED = "AllPodsScheduled"
    UNSCHEDULABLE = "Unschedulable"
    WAITING_FOR_PODS = "WaitingForPods"
    PODS_REFUSED = "PodsRefused"
    # ModelReady
    ENGINE_ANSWERED = "EngineAnswered"
    MODEL_LOADING = "ModelLoading"
    # WorkloadReady
    ALL_REPLICAS_READY = "AllReplicasReady"
    SOME_REPLICAS_READY = "SomeReplicasReady"
    NO_REPLICA_READY = "NoReplicaReady"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    CANARY_ROLLED_BACK = "CanaryRolledBack"
    ROLLOUT_DEADLINE_EXCEEDED = "RolloutDeadlineExceeded"
    SCALED_TO_ZERO = "ScaledToZero"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CRASH_LOOP = "CrashLoop"
    DOWNLOAD_FAILED = "DownloadFailed"
    DOWNLOAD_STALLED = "DownloadStalled"
    OUT_OF_MEMORY = "OutOfMemory"
    START_FAILED = "StartFailed"
    PROBE_FAILED = "ProbeFailed"
    EVICTED = "Evicted"
    NODE_DISK_PRESSURE = "NodeDiskPressure"
    NODE_MEMORY_PRESSURE = "NodeMemoryPressure"
    POD_REJECTED = "PodRejected"
    NODE_NOT_READY = "NodeNotReady"
    APPLY_REFUSED = "ApplyRefused"
    # RoutesProgrammed
    ACKNOWLEDGED = "Acknowledged"
    WAITING_FOR_TABLE = "WaitingForTable"
    WAITING_FOR_GATEWAYS = "WaitingForGateways"
    WAITING_FOR_ENDPOINTS = "WaitingForEndpoints"
    NO_LIVE_GATEWAY = "NoLiveGateway"
    REJECTED_BY_GATEWAY = "RejectedByGateway"
    # Ready (Region)
    TABLE_WITHHELD = "TableWithheld"
    # CachePolicyEnforced
    ENFORCED = "Enforced"
    ENGINE_CANNOT_ISOLATE = "EngineCannotIsolate"
    ENGINE_VERSION_UNKNOWN = "EngineVersionUnknown"
    NO_STORE_POOL_EMPTY = "NoStorePoolEmpty"
    # SeedKept, besides those of CachePolicyEnforced
    ENGINE_CANNOT_REPEAT = "EngineCannotRepeat"
    IMAGE_NOT_PINNED = "ImageNotPinned"
    WEIGHTS_NOT_PINNED = "WeightsNotPinned"
    ACCELERATOR_NOT_SINGLE = "AcceleratorNotSingle"
    CPU_NOT_SINGLE = "CPUNotSingle"
    # ScalingActive
    SCALING_ACTIVE = "ScalingActive"
    WAITING_FOR_AUTOSCALER = "WaitingForAutoscaler"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    AUTOSCALER_MISSING = "AutoscalerMissing"
    # AdaptersReady
    ALL_ADAPTERS_LOADED = "AllAdaptersLoaded"
    # Accepted (Tenant)
    UNKNOWN_MODEL = "UnknownModel"
    # Enforced (Tenant), besides those of RoutesProgrammed
    AUTH_DISABLED = "AuthDisabled"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - not a password
    SECRET_UNREADABLE = "SecretUnreadable"  # noqa: S105
    INVALID_KEY = "InvalidKey"
    DUPLICATE_KEY = "DuplicateKey"
    # Ready, and conditions that cannot be judged yet
    READY = "Ready"
    BEING_DELETED = "BeingDeleted"
    PENDING = "Pending"
