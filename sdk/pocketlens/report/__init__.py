"""Pages and sheets that show people a catalogue."""

# SPDX-License-Identifier: Apache-2.0
