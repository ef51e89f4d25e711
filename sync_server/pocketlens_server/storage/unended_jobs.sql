-- SPDX-License-Identifier: Apache-2.0
-- Jobs that have not ended are few beside those that have, and are looked for whenever one ends.

CREATE INDEX jobs_unended ON jobs (state) WHERE ended_at = 0;
