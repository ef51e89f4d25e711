"""Questions as JSON over HTTP, and a page to ask them on."""
