"""Why pictures are alike, and where in them: two compared, a match explained, both drawn."""

# SPDX-License-Identifier: Apache-2.0
