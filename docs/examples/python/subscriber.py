"""A consumer to start from: it reads the events of some types in a consumer group of its own, prints a line for each,
and commits only what it has handled.

KAFKA_BROKERS   host:port, separated by commas (default 127.0.0.1:9092)
GROUP           consumer group (default example); members with the same name share the work
TOPIC_PREFIX    what the topics begin with (default customerio_)
EVENT_TYPES     event types, separated by commas (default: all that Customer.io describes)
"""

import json
import os
import signal
import sys
import time
from types import FrameType

from confluent_kafka import Consumer, KafkaException, Message

DESCRIBED = (
    "email_sent,email_delivered,email_opened,email_clicked,email_bounced,email_spammed,email_dropped,unsubscribed,"
    "email_converted,email_failed,push_sent,push_opened,push_bounced,sms_sent,sms_delivered,sms_failed,sms_bounced"
)


def consume() -> None:
    """Handles events until a signal asks it to stop."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    prefix = os.getenv("TOPIC_PREFIX") or "customerio_"
    types = os.getenv("EVENT_TYPES") or DESCRIBED
    consumer = Consumer(
        {
            "bootstrap.servers": os.getenv("KAFKA_BROKERS") or "127.0.0.1:9092",
            "group.id": os.getenv("GROUP") or "example",
            # A group that is new begins with what the topics hold already.
            "auto.offset.reset": "earliest",
            # What is stored is committed every second, at a rebalance and at the end; and only handled records are
            # stored, by store_offsets below. So a crash loses nothing, and repeats a second's work at most.
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
            # Topics and partitions that come later are noticed.
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )
    consumer.subscribe([prefix + t for t in types.split(",")])
    handled = Recent()
    try:
        while not stopping:
            record = consumer.poll(0.5)
            if record is None:
                continue
            if error := record.error():
                if error.fatal():
                    raise KafkaException(error)
                print(f"subscriber: {error}", file=sys.stderr)  # it goes on trying by itself
                continue
            # Kafka delivers at least once: after a crash, or when the group's members change, a record may come again.
            # ce_id tells. A record without one isn't Sluice's; it is always handled.
            ce_id = header(record, "ce_id")
            if not ce_id or handled.add(ce_id):
                handle(record)
            consumer.store_offsets(record)
    finally:
        consumer.close()  # commits, and leaves the group, so that the others go on at once


def handle(record: Message) -> None:
    """Where your work goes. The record's value is the body as Customer.io sent it."""
    _, millis = record.timestamp()
    key = json.dumps((record.key() or b"").decode(errors="replace"), ensure_ascii=False)
    print(
        f"{time.strftime('%H:%M:%S', time.gmtime(millis / 1000))}  {header(record, 'event-type'):<16}  "
        f"customer {key:<12}  campaign {campaign(record.value() or b'') or '-':<6}  {header(record, 'ce_id')}  "
        f"{record.topic()}[{record.partition()}]@{record.offset()}",
        flush=True,
    )


def campaign(body: bytes) -> str:
    """The campaign_id as text. It may be a number, whose digits are kept, a string, null or missing; and a body that
    can't be read has none: an exception here would stop the whole group at that record."""
    try:
        event = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return ""
    data = event.get("data") if isinstance(event, dict) else None
    campaign_id = data.get("campaign_id") if isinstance(data, dict) else None
    return campaign_id if isinstance(campaign_id, str) else ""


def header(record: Message, name: str) -> str:
    value = dict(record.headers() or []).get(name)
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


class Recent:
    """Remembers the last ids of this process. A unique key in the database that handle writes to does it better: it
    outlives the process."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._ids: dict[str, None] = {}  # in the order of coming

    def add(self, new: str) -> bool:
        """Reports whether the id is new."""
        if new in self._ids:
            return False
        if len(self._ids) == self._size:
            del self._ids[next(iter(self._ids))]
        self._ids[new] = None
        return True


if __name__ == "__main__":
    consume()
