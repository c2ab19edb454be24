"""What the shop does later."""

from django.tasks import task


@task(queue_name="mail", priority=10)
def send_receipt(to: str, total: int) -> str:
    return f"Dear {to}, you owe us {total}."
