from __future__ import annotations

from hypothesis import HealthCheck, settings

# The machines that run the tests may be slow or busy; time is never what a property test is about.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
