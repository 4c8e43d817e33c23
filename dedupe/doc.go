// Package dedupe remembers in Redis which deliveries are kept, so that a retry of the sender reaches Kafka once.
//
// # Claim, publish, confirm
//
// Before a delivery is published its ID (see [Identify]) is claimed: SET key pending:<token> NX PX <lease>. Who wins
// publishes; then [Claim.Confirm] writes "done" with the long TTL, [Claim.Release] takes the lease back when nothing
// was written (compare-and-delete by token), and [Claim.Leave] lets the lease run out when nobody knows. Who loses
// reads the value: "done" and "done:dl" are duplicates of a kept delivery; "pending" of another is asked again until
// [Options.ClaimTimeout], then [ErrBusy].
//
// The value of a key is one of
//
//	pending:<instance>.<life>.<counter>   a lease; life is 8 random bytes of this process start in hex, counter is base 36
//	done                                  kept on its topic
//	done:dl                               kept on the dead-letter topic
//
// The counter and the life hold no dot, so a token is read from its end and an instance name may hold dots.
//
// All concurrent callers share one pipelined round trip: while a flight is out, arrivals gather for the next; there is
// no linger. A caller leaves at its own deadline whatever the flight does. With Redis Cluster every master has
// flights of its own.
//
// # Redis away
//
// A flight that fails opens the breaker of its master at once; a goroutine then probes with the very commands that
// are needed, and no live request ever waits for that. Meanwhile [Open] claims are [Skipped] (publish anyway) and
// [Closed] ones are refused with [ErrUnavailable]. A memory of the IDs that this process has claimed or kept lately
// goes on telling duplicates. Confirms wait, bounded, and are written when Redis is back.
//
// # Redis has lost data
//
// With [Deduper.Guard], a key that every instance refreshes is looked at every few seconds and whenever Redis is back. It
// tells from when on marks may be missing, and holds that until a repair has been done, whoever does it and however often
// it is begun anew.
//
// # URLs
//
//	redis://[user:password@]host[:6379][/db]
//	rediss://[user:password@]host[:6379][/db]                 with TLS 1.2 or newer, system roots
//	unix://[user:password@]/path/to/redis.sock[?db=1]
//	redis+cluster://[user:password@]host[:6379][?addr=host2:6379&addr=host3:6379]
//	rediss+cluster://…                                        one configuration endpoint is enough
//	redis+sentinel://[sentinel-user:sentinel-password@]host[:26379][/db]?master_name=mymaster
//	    [&addr=host2:26379][&username=redis-user][&password=redis-password]
//	rediss+sentinel://…                                       TLS to the Sentinels and to Redis
//
// Examples:
//
//	redis://cache.internal
//	rediss://sluice:s3cret@cache.example.net:6380/2
//	rediss+cluster://sluice:s3cret@clustercfg.example.net
//	redis+sentinel://sentinel-0:26379?master_name=mymaster&addr=sentinel-1:26379&addr=sentinel-2:26379&password=s3cret
//
// Further parameters: protocol=3 (default 2), client_name, skip_verify=true (rediss only: no certificate check).
// Timeouts, retries and pool sizes are this package's business and refused by name. Special characters in user names
// and passwords are percent-encoded. [Options.Password] replaces the password of the Redis servers, never the
// Sentinels'.
//
// A Redis user (ACL) needs the keys ~slu:* and the commands +set +get +eval +del +pexpire, in a cluster +cluster|slots
// too. With +config|get or +info the deduper can warn of an eviction policy.
//
// # What it does not do
//
// It knows nothing of Kafka, HTTP or events. It notices that Redis has lost data ([Deduper.Guard]), but reads no topics:
// whoever does gives their ids to a [Marker]. It never evicts: set maxmemory-policy noeviction, or Redis forgets what was kept.
package dedupe
