// Made by `restore-projector contracts export` from the models in contracts/. Changes made here are lost.
// Times are YYYY-MM-DDTHH:MM:SS.mmmZ. Sequences may be larger than Number.MAX_SAFE_INTEGER; JSON.parse rounds those.

export type State =
  | "not_executed"
  | "in_progress"
  | "completed_proof_incomplete"
  | "completed_with_evidence"
  | "needs_review"
  | "failed"
  | "blocked_or_cancelled";

export type Severity =
  | "info"
  | "notice"
  | "warning"
  | "critical";

export type Direction =
  | "initial"
  | "progress"
  | "regression"
  | "removed";

export type Origin =
  | "live"
  | "replay"
  | "recompute"
  | "deadline";

export type RuleName =
  | "dry_run"
  | "run_failed"
  | "operation_failed"
  | "operation_active"
  | "run_cancelled"
  | "operation_blocked"
  | "run_active"
  | "run_behind_operation"
  | "pre_execution"
  | "needs_review"
  | "input_unreadable"
  | "evidence_current"
  | "evidence_missing"
  | "operation_unlinked";

export type ActionCode =
  | "review_preview"
  | "continue_preparation"
  | "view_operation_progress"
  | "review_restored_details"
  | "open_evidence"
  | "review_item_outcomes"
  | "review_failure_details"
  | "review_blocker";

export type EvidenceCause =
  | "none"
  | "pending"
  | "expired"
  | "superseded"
  | "failed"
  | "predates_completion";

export type InconsistencyCode =
  | "operation_not_observed"
  | "operation_deleted"
  | "operation_ahead_of_run"
  | "run_ahead_of_operation"
  | "outcome_conflict"
  | "attention_conflict"
  | "evidence_predates_completion"
  | "preview_failed"
  | "applied_before_cancellation"
  | "unreadable_input";

export type ForbiddenClaim =
  | "Recovery verified"
  | "Healthy"
  | "Compliant"
  | "Customer-safe";

export type Entity =
  | "restore_run"
  | "operation_run"
  | "evidence_snapshot";

export type RunStatus =
  | "draft"
  | "scoped"
  | "checked"
  | "previewed"
  | "queued"
  | "running"
  | "completed"
  | "partial"
  | "completed_with_errors"
  | "failed"
  | "cancelled";

export type AttentionState =
  | "completed"
  | "completed_with_follow_up"
  | "partial"
  | "failed"
  | "not_executed";

export type OperationStatus =
  | "queued"
  | "running"
  | "completed";

export type Outcome =
  | "pending"
  | "succeeded"
  | "partially_succeeded"
  | "failed"
  | "blocked"
  | "cancelled";

export type SnapshotStatus =
  | "queued"
  | "generating"
  | "active"
  | "superseded"
  | "expired"
  | "failed";

/**
 * The action is done on a snapshot.
 */
export interface EvidenceTarget {
  readonly evidence_snapshot_id: string;
}

/**
 * The action is done on the linked operation.
 */
export interface OperationTarget {
  readonly operation_run_id: string;
}

/**
 * The action is done on the restore run.
 */
export interface RunTarget {
  readonly restore_run_id: string;
}

/**
 * What to do next; the code is the label in snake case.
 */
export interface Action {
  readonly code: ActionCode;
  readonly label: string;
  readonly target: EvidenceTarget | OperationTarget | RunTarget;
}

/**
 * Whether an operation run proves the execution. The id is null where the proof is unavailable.
 */
export interface OperationProof {
  readonly state: "unavailable" | "in_progress" | "available";
  readonly operation_run_id: string | null;
}

/**
 * Evidence shown, or why there is none. `valid_until` is the shown snapshot's expiry, null if it has none.
 */
export interface PostRunEvidence {
  readonly state: "unavailable" | "available";
  readonly cause: EvidenceCause | null;
  readonly evidence_snapshot_id: string | null;
  readonly valid_until: string | null;
}

/**
 * All six counts; null where the source did not say, which is never 0.
 */
export interface CountsDocument {
  readonly total: number | null;
  readonly succeeded: number | null;
  readonly failed: number | null;
  readonly skipped: number | null;
  readonly partial: number | null;
  readonly non_applied: number | null;
}

/**
 * The counts in words, or what is said where none is known.
 */
export interface ResultSummary {
  readonly kind: "counts" | "unavailable" | "in_progress" | "failure_details_required";
  readonly text: string;
  readonly counts: CountsDocument;
}

/**
 * What may be said of this restore, and what may never be said.
 */
export interface Claims {
  readonly allowed: readonly string[];
  readonly forbidden: readonly ForbiddenClaim[];
}

/**
 * What a restore run carries besides its columns.
 */
export interface MetadataDocument {
  readonly counts: CountsDocument;
}

/**
 * The source's own judgement of the result.
 */
export interface AttentionDocument {
  readonly state: AttentionState;
}

/**
 * Where in Kafka a fact came from; the timestamp in ms since the epoch.
 */
export interface SourceDocument {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
}

/**
 * A restore run's facts.
 */
export interface RestoreRunDocument {
  readonly id: string;
  readonly tenant_id: string;
  readonly status: RunStatus;
  readonly is_dry_run: boolean;
  readonly operation_run_id: string | null;
  readonly metadata: MetadataDocument;
  readonly result_attention: AttentionDocument | null;
  readonly updated_at: string | null;
  readonly sequence: number | null;
  readonly source: SourceDocument | null;
}

/**
 * An operation run's facts, the last known ones of a deleted one; the status is null only if none ever were.
 */
export interface OperationRunDocument {
  readonly id: string;
  readonly tenant_id: string;
  readonly status: OperationStatus | null;
  readonly outcome: Outcome | null;
  readonly started_at: string | null;
  readonly completed_at: string | null;
  readonly deleted: boolean;
  readonly sequence: number | null;
  readonly source: SourceDocument | null;
}

/**
 * An evidence snapshot's facts; `expired` is the fact that its `expires_at` has passed.
 */
export interface EvidenceSnapshotDocument {
  readonly id: string;
  readonly tenant_id: string;
  readonly operation_run_id: string | null;
  readonly status: SnapshotStatus;
  readonly generated_at: string | null;
  readonly expires_at: string | null;
  readonly expired: boolean;
  readonly sequence: number | null;
  readonly source: SourceDocument | null;
}

/**
 * Every fact that the decision used: enough to decide again, and to restore the store.
 *
 * `unreadable` names the entities whose newest event could not be read, as `<entity>/<id>`.
 */
export interface Inputs {
  readonly restore_run: RestoreRunDocument;
  readonly operation_run: OperationRunDocument | null;
  readonly evidence_snapshots: readonly EvidenceSnapshotDocument[];
  readonly unreadable: readonly string[];
}

/**
 * What is behind the decision: the rule, why it held in sentences, contradictions, and the facts.
 */
export interface Diagnostics {
  readonly default: "collapsed";
  readonly rule: RuleName;
  readonly because: readonly string[];
  readonly inconsistencies: readonly InconsistencyCode[];
  readonly inputs: Inputs;
}

/**
 * One change of state.
 */
export interface Transition {
  readonly revision: number;
  readonly state: State;
  readonly changed_at: string;
}

/**
 * The value in `decision-state` and, byte for byte, the string in Redis: what an operator may be shown first.
 *
 * `changed_at` is when the state last changed, `updated_at` when anything was last applied: times of the input's
 * records, never of the worker's clock.
 */
export interface StateDocument {
  readonly schema: "restore.decision-state/1";
  readonly tenant_id: string;
  readonly restore_run_id: string;
  readonly operation_run_id: string | null;
  readonly revision: number;
  readonly state: State;
  readonly previous_state: State | null;
  readonly status: string;
  readonly reason: string;
  readonly impact: string;
  readonly primary_next_action: Action;
  readonly operation_proof: OperationProof;
  readonly post_run_evidence: PostRunEvidence;
  readonly result_summary: ResultSummary;
  readonly claims: Claims;
  readonly diagnostics: Diagnostics;
  readonly timeline: readonly Transition[];
  readonly policy: number;
  readonly changed_at: string;
  readonly updated_at: string;
}

/**
 * The entity whose event or expiry made the change; the sequence is null where it was unreadable or forgotten.
 */
export interface Cause {
  readonly entity: Entity;
  readonly id: string;
  readonly sequence: number | null;
}

/**
 * The value in `decision-changes`: one for every change of state.
 *
 * `from_state` is null at first and when a run comes back; `to_state`, `status`, `reason` and `impact` are null when
 * it is deleted.
 */
export interface StateChange {
  readonly tenant_id: string;
  readonly restore_run_id: string;
  readonly from_state: State | null;
  readonly to_state: State | null;
  readonly summary: string;
  readonly status: string | null;
  readonly reason: string | null;
  readonly impact: string | null;
  readonly revision: number;
  readonly severity: Severity;
  readonly direction: Direction;
  readonly origin: Origin;
  readonly cause: Cause;
  readonly changed_at: string;
}

/**
 * The first rule that holds: its place in the table, which facts made it hold, and why it stands there.
 */
export interface DecidingRule {
  readonly name: RuleName;
  readonly number: number;
  readonly of: number;
  readonly when: string;
  readonly because: readonly string[];
  readonly why: string;
}

/**
 * A rule that stands before the deciding one: what it asks for, and how that is, so that it does not hold.
 */
export interface EarlierRule {
  readonly name: RuleName;
  readonly state: State;
  readonly when: string;
  readonly why_not: readonly string[];
}

/**
 * A fact that would be another.
 *
 * `field` is one of the entity's in `diagnostics.inputs`, a nested one with dots; `from` is its value, null for
 * everything of an entity that is not there yet, and `to` the one that it would have. `unreadable` is a field of every
 * entity: whether the inputs' list of that name has it. Ids `new-…` stand for ids that are not known yet, and a new
 * time for that one or a later.
 */
export interface Edit {
  readonly entity: Entity;
  readonly id: string;
  readonly field: string;
  readonly from: unknown;
  readonly to: unknown;
}

/**
 * Something that a source would have to report.
 *
 * `correction`: it would take back what was reported as final, which does not happen by itself.
 */
export interface Step {
  readonly words: string;
  readonly correction: boolean;
  readonly edits: readonly Edit[];
}

/**
 * A state nearer to proof, and a shortest list of what would have to become true for it to be shown.
 *
 * Not listed are states that are bad news, and those that are only reached when something becomes worse.
 */
export interface BetterState {
  readonly state: State;
  readonly status: string;
  readonly steps: readonly Step[];
}

/**
 * What is known of an entity, where that came from, and how old it is.
 *
 * `fields` are those of `diagnostics.inputs`; null for an entity of which nothing is known but that its newest event
 * could not be read, which is what `unreadable` says. Without a source no age is known.
 */
export interface Fact {
  readonly entity: Entity;
  readonly id: string;
  readonly fields: Readonly<Record<string, unknown>> | null;
  readonly sequence: number | null;
  readonly source: SourceDocument | null;
  readonly age_ms: number | null;
  readonly unreadable: boolean;
}

/**
 * Facts that contradict each other: the code of the documents, and which facts.
 */
export interface Inconsistency {
  readonly code: InconsistencyCode;
  readonly words: string;
}

/**
 * One change of state, the oldest first.
 */
export interface Moment {
  readonly revision: number;
  readonly state: State;
  readonly changed_at: string;
  readonly status: string;
  readonly age_ms: number;
}

/**
 * What the document says where this version decides otherwise, and by which policy it was decided.
 */
export interface StoredDecision {
  readonly state: State;
  readonly rule: RuleName;
  readonly policy: number;
}

/**
 * Why a restore is decided as it is, why not otherwise, and what would have to become true for something better.
 *
 * From `state` to `claims` it is the state document's part of the same names, as this version decides.
 */
export interface Explanation {
  readonly schema: "restore.decision-explanation/1";
  readonly tenant_id: string;
  readonly restore_run_id: string;
  readonly as_of: string;
  readonly state: State;
  readonly severity: Severity;
  readonly status: string;
  readonly reason: string;
  readonly impact: string;
  readonly primary_next_action: Action;
  readonly claims: Claims;
  readonly rule: DecidingRule;
  readonly rules_before: readonly EarlierRule[];
  readonly better_states: readonly BetterState[];
  readonly facts: readonly Fact[];
  readonly inconsistencies: readonly Inconsistency[];
  readonly timeline: readonly Moment[];
  readonly revision: number;
  readonly policy: number;
  readonly changed_at: string;
  readonly updated_at: string;
  readonly stored: StoredDecision | null;
}
