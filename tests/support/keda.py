"""JSON schema of the part of KEDA's ScaledObject that this project uses.

Written by hand after the custom resource definition of KEDA 2.20 and the fields that
its Temporal scaler reads; Kubernetes' own schemas do not know either.
"""

from typing import Any

_COUNT = {"type": "integer", "minimum": 0}
_NUMBER_TEXT = {"type": "string", "pattern": "^[0-9]+$"}
_FLAG_TEXT = {"enum": ["true", "false"]}

TEMPORAL_TRIGGER: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "metadata"],
    "properties": {
        "type": {"const": "temporal"},
        "authenticationRef": {"type": "object", "required": ["name"]},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "required": ["endpoint", "taskQueue", "enableTLS"],
            "properties": {
                "endpoint": {"type": "string", "pattern": "^[^:/]+:[0-9]+$"},
                "namespace": {"type": "string"},
                "taskQueue": {"type": "string", "minLength": 1},
                "queueTypes": {
                    "type": "string",
                    "pattern": "^(workflow|activity|nexus)(,(workflow|activity|nexus))*$",
                },
                "targetQueueSize": _NUMBER_TEXT,
                "activationTargetQueueSize": _NUMBER_TEXT,
                "workerDeploymentName": {"type": "string"},
                "workerDeploymentBuildId": {"type": "string"},
                "minConnectTimeout": _NUMBER_TEXT,
                "unsafeSsl": _FLAG_TEXT,
                "tlsServerName": {"type": "string"},
                "enableTLS": _FLAG_TEXT,
            },
        },
    },
}

SCALED_OBJECT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "name": {"type": "string", "minLength": 1},
                    },
                },
                "minReplicaCount": _COUNT,
                "maxReplicaCount": {"type": "integer", "minimum": 1},
                "idleReplicaCount": _COUNT,
                "pollingInterval": {"type": "integer", "minimum": 1},
                "cooldownPeriod": _COUNT,
                "initialCooldownPeriod": _COUNT,
                "fallback": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["failureThreshold", "replicas"],
                    "properties": {
                        "failureThreshold": _COUNT,
                        "replicas": _COUNT,
                        "behavior": {
                            "enum": [
                                *("static", "currentReplicas", "currentReplicasIfHigher"),
                                *("currentReplicasIfLower", "scalingModifiers"),
                            ]
                        },
                    },
                },
                "triggers": {"type": "array", "minItems": 1, "items": TEMPORAL_TRIGGER},
            },
        },
    },
}
