"""Environment -> the settings of the activation service and of the stand-in."""

from pydantic import Field, field_validator

from cdp_runtime.settings import ServiceSettings


class ActivationSettings(ServiceSettings):
    """What the planner, the worker and the router need."""

    activation_allowed_hosts: str = Field(
        "", description="host:port pairs, separated by commas, that destinations may reach on a local stack"
    )
    activation_allowed_ports: str = Field("443,8443", description="ports of destinations, separated by commas")
    activation_poll_seconds: float = Field(
        0.5, gt=0, le=60, description="pause between looks for due deliveries and for what the API changed"
    )
    activation_sweep_seconds: float = Field(
        60.0, gt=0, description="pause between reconciliations of every audience, longer where one takes over 3 s"
    )
    activation_guard_share: float = Field(
        0.3, gt=0, le=1, description="share of an audience that may leave within ten minutes without being confirmed"
    )
    activation_guard_members: int = Field(100, ge=1, description="audiences below this size are not guarded by share")
    activation_guard_empty_members: int = Field(
        10, ge=1, description="audiences from this size on may not become empty without being confirmed"
    )
    activation_retry_base_seconds: float = Field(2.0, gt=0, description="first pause after a failed delivery, at most")
    activation_retry_cap_seconds: float = Field(900.0, gt=0, description="longest pause between two attempts")
    activation_retry_budget_hours: float = Field(24.0, gt=0, description="time until a failing delivery is given up")
    activation_breaker_failures: int = Field(5, ge=1, description="failed calls in a row that rest a destination")
    activation_breaker_rest_seconds: float = Field(5.0, gt=0, description="first rest of a failing destination")

    @field_validator("activation_allowed_ports")
    @classmethod
    def _are_ports(cls, listed: str) -> str:
        if not all(part.strip().isdecimal() and 0 < int(part) < 65536 for part in listed.split(",")):
            raise ValueError("give port numbers, separated by commas, such as 443,8443")
        return listed

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Exempt from the check of addresses; only on a local stack."""
        if self.environment != "local":
            return frozenset()
        return frozenset(part.strip() for part in self.activation_allowed_hosts.split(",") if part.strip())

    @property
    def allowed_ports(self) -> frozenset[int]:
        return frozenset(int(part) for part in self.activation_allowed_ports.split(","))


class StandinSettings(ServiceSettings):
    """What the stand-in for the platforms needs."""

    standin_host: str = Field("127.0.0.1", description="address the stand-in listens on; 0.0.0.0 for all")
    standin_port: int = Field(8002, ge=1, le=65535, description="port of the local stand-in for marketing platforms")
    standin_url: str = Field(
        "", description="where the demo's destinations find the stand-in; empty: on this machine, at its port"
    )
