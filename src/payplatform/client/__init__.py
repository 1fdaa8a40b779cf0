"""The public API: each verb validates its arguments and hands a command to the engine."""

from payplatform.client.platform import MerchantClient, PayPlatform

__all__ = ["MerchantClient", "PayPlatform"]
