"""Settings of Hypothesis for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Tests also run on slow and busy machines. A property test must not fail because it takes long.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
