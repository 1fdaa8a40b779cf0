"""payplatform for asyncio: the same verbs, awaited. It comes with the extra `async`.

Law of this folder: it adds nothing to what the blocking face does and leaves nothing out. It knows
how a call gets off the event loop and back, and no rule of payments.
"""

try:
    from payplatform.aio.platform import AsyncMerchantClient, AsyncPayPlatform
except ModuleNotFoundError as error:
    if error.name != "greenlet":
        raise
    raise ModuleNotFoundError(
        "payplatform.aio needs the package greenlet, which is not installed. "
        'Install the extra: pip install "payplatform[async]"',
        name="greenlet",
    ) from error

__all__ = ["AsyncMerchantClient", "AsyncPayPlatform"]
