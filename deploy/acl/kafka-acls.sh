#!/bin/sh
# What each user may do in Kafka, and nothing else: granted by Kafka's own tool, which must be on the PATH.
#
#   BOOTSTRAP=kafka:9092 COMMAND_CONFIG=admin.properties sh deploy/acl/kafka-acls.sh
#
# Each of these has a default that fits the worker's own settings. Granting again what is granted changes nothing.
set -eu
: "${BOOTSTRAP:?host:port of a broker}"
prefix=${PREFIX:-restore}                # RESTORE_PROJECTOR_TOPICS__PREFIX
group=${GROUP:-restore-projector}        # RESTORE_PROJECTOR_KAFKA__GROUP_ID
worker=${WORKER:-User:restore-worker}
source=${SOURCE:-User:restore-source}
reader=${READER:-User:restore-reader}
operator=${OPERATOR:-User:restore-operator}
maker=${MAKER:-User:restore-topics}

allow() {
    kafka-acls.sh --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
        --add --allow-principal "$@"
}

# --- the worker: `restore-projector run` ------------------------------------------------------------------------------

# It follows the inputs. DescribeConfigs, here and below: every start checks whether the topics fit.
allow "$worker" --operation Read --operation DescribeConfigs \
    --topic "$prefix.restore-runs.v1" --topic "$prefix.operation-runs.v1" --topic "$prefix.evidence-snapshots.v1" \
    --topic "$prefix.projection.ops.v1"

# It writes the compacted topics, and restores its store from them.
allow "$worker" --operation Read --operation Write --operation DescribeConfigs \
    --topic "$prefix.decision-state.v1" --topic "$prefix.projection.internal.v1"

# It writes what others read, and counts the dead letters that are open.
allow "$worker" --operation Write --operation DescribeConfigs --topic "$prefix.decision-changes.v1"
allow "$worker" --operation Read --operation Write --operation DescribeConfigs \
    --topic "$prefix.projection.dead-letters.v1"

# It is a member of one group, and commits this group's offsets.
allow "$worker" --operation Read --group "$group"

# Its transactional id is <group>-<instance>.
allow "$worker" --operation Write --transactional-id "$group-" --resource-pattern-type prefixed

# --- sources of events ------------------------------------------------------------------------------------------------

allow "$source" --operation Write \
    --topic "$prefix.restore-runs.v1" --topic "$prefix.operation-runs.v1" --topic "$prefix.evidence-snapshots.v1"

# --- who reads decisions: user interfaces, alerting, `restore-projector watch` ----------------------------------------

allow "$reader" --operation Read --topic "$prefix.decision-state.v1" --topic "$prefix.decision-changes.v1"

# Groups of their own, called restore-reader-…
allow "$reader" --operation Read --group "restore-reader-" --resource-pattern-type prefixed

# --- operators: everything is read, orders are written: `restore-projector status`, `topics check`, `deadletters` ------

allow "$operator" --operation Read --operation DescribeConfigs --topic "$prefix." --resource-pattern-type prefixed
allow "$operator" --operation Write --topic "$prefix.projection.ops.v1"
allow "$operator" --operation Describe --group "$group"

# --- who makes the topics, once: `restore-projector topics create` ----------------------------------------------------

allow "$maker" --operation Create --operation Describe --operation DescribeConfigs \
    --topic "$prefix." --resource-pattern-type prefixed
