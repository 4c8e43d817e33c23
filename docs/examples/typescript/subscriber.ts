// A consumer to start from: it reads the events of some types in a consumer group of its own, prints a line for each, and
// commits only what it has handled.
//
//	KAFKA_BROKERS   host:port, separated by commas (default 127.0.0.1:9092)
//	GROUP           consumer group (default example); members with the same name share the work
//	TOPIC_PREFIX    what the topics begin with (default customerio_)
//	EVENT_TYPES     event types, separated by commas (default: all that Customer.io describes)

import { Consumer, type Message, MessagesStreamFallbackModes, MessagesStreamModes } from '@platformatic/kafka'

const described =
  'email_sent,email_delivered,email_opened,email_clicked,email_bounced,email_spammed,email_dropped,unsubscribed,' +
  'email_converted,email_failed,push_sent,push_opened,push_bounced,sms_sent,sms_delivered,sms_failed,sms_bounced'

/** Handles events until a signal asks it to stop. */
async function consume(): Promise<void> {
  const prefix = process.env.TOPIC_PREFIX || 'customerio_'
  const types = process.env.EVENT_TYPES || described
  const consumer = new Consumer({
    clientId: 'subscriber',
    groupId: process.env.GROUP || 'example',
    bootstrapBrokers: (process.env.KAFKA_BROKERS || '127.0.0.1:9092').split(','),
    autocommit: false // it would commit what has been fetched; only what has been handled is, below
  })
  const stream = await consumer.consume({
    topics: types.split(',').map(type => prefix + type),
    mode: MessagesStreamModes.COMMITTED,
    // A group that is new begins with what the topics hold already.
    fallbackMode: MessagesStreamFallbackModes.EARLIEST,
    maxWaitTime: 500
  })
  let stopping = false
  const stop = (): void => {
    stopping = true
    void stream.close() // ends the loop below also while it waits
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)

  const handled = new Recent()
  for await (const record of stream) {
    if (stopping) break // what has been fetched but not handled comes again, to whoever is next
    // Kafka delivers at least once: after a crash, or when the group's members change, a record may come again. ce_id
    // tells. A record without one isn't Sluice's; it is always handled.
    const id = header(record, 'ce_id')
    if (id === '' || handled.add(id)) await handle(record)
    await record.commit()
  }
  await consumer.close() // leaves the group, so that the others go on at once
}

/** Where your work goes. The record's value is the body as Customer.io sent it. */
async function handle(record: Message): Promise<void> {
  const time = new Date(Number(record.timestamp)).toISOString().slice(11, 19)
  const key = JSON.stringify(record.key?.toString() ?? '')
  console.log(
    `${time}  ${header(record, 'event-type').padEnd(16)}  customer ${key.padEnd(12)}  ` +
      `campaign ${(campaign(record.value) || '-').padEnd(6)}  ${header(record, 'ce_id')}  ` +
      `${record.topic}[${record.partition}]@${record.offset}`
  )
}

/**
 * The campaign_id as text. It may be a number, whose digits are kept, a string, null or missing; and a body that can't be
 * read has none: an exception here would stop the whole group at that record.
 */
function campaign(body: Buffer | undefined): string {
  try {
    const event = JSON.parse(body?.toString() ?? '', digits)
    const id: unknown = event?.data?.campaign_id
    return typeof id === 'string' ? id : ''
  } catch {
    return ''
  }
}

/** Keeps a number as it is written, where JSON.parse would round 9007199254740993 to 9007199254740992. */
function digits(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? (context?.source ?? String(value)) : value
}

function header(record: Message, name: string): string {
  const found = record.headerEntries.find(([key]) => key?.toString() === name)
  return found?.[1]?.toString() ?? ''
}

/**
 * Remembers the last ids of this process. A unique key in the database that handle writes to does it better: it outlives
 * the process.
 */
class Recent {
  readonly #size = 10_000
  readonly #ids = new Set<string>() // in the order of coming

  /** Reports whether the id is new. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false
    if (this.#ids.size === this.#size) this.#ids.delete(this.#ids.values().next().value!)
    this.#ids.add(id)
    return true
  }
}

await consume()
