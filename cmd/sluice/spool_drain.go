package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/config"
	"sluice/dedupe"
	"sluice/publisher"
	"sluice/publisher/spool"
)

// spoolDrainCmd is "sluice spool drain".
type spoolDrainCmd struct {
	Instance, SpoolAfter, SpoolMaxBytes struct{} `kong:"-"`
	config.Config                       `groups:"Kafka,Topics,Dedupe,Spool"`

	Instances []string      `name:"instance" placeholder:"NAME" help:"Only this instance's folder. May be given several times. All that no running instance has, unless given."`
	Timeout   time.Duration `default:"0" placeholder:"DURATION" help:"Give up after that time. 0: go on until all is sent."`
}

// Help says what it is for and shows how it is used.
func (spoolDrainCmd) Help() string {
	return `It does what an instance does when it starts with these folders, without receiving anything: it marks what they hold as kept in Redis, sends the batches again as they were sent, so that brokers drop what they have, and then what was kept. A folder that is empty then is removed. What it can't send in time, or until Ctrl-C, stays there. Only if nothing is left it exits with 0. Use the settings of the instances, and run it as the user that they run as.

Examples:

    # Before a host is removed, with its instances stopped:
    sluice spool drain

    # One instance that won't come back, for at most ten minutes:
    sluice spool drain --spool-dir /var/lib/sluice --instance worker-2 --timeout 10m`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *spoolDrainCmd) Validate() error {
	if c.Timeout < 0 {
		return fmt.Errorf("--timeout: want 0 or more, got %s", c.Timeout)
	}
	return nil
}

// Run sends until nothing is left, ctx ends or the time is up.
func (c *spoolDrainCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	show := newCountedProgress(p.stderr, "reading the spool")
	folders, err := c.folders(show.say)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		fmt.Fprintf(p.stdout, "Nothing is to be drained in %s.\n", c.SpoolDir)
		return nil
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	log := noticesTo(lineWriter(show.say)).WithOptions(zap.IncreaseLevel(zap.WarnLevel), zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 1, 0) // one topic's trouble stands for that of all
	}))
	dedupe.RouteClientLog(zap.NewNop())
	d := &spoolDrain{config: &c.Config, log: log}
	err = d.open(ctx, folders)
	if err == nil {
		done := show.start(d.progress)
		d.remember(ctx)
		d.wait(ctx)
		done()
	}
	err = errors.Join(err, d.close(context.WithoutCancel(ctx)))
	for _, f := range d.folders {
		text, left := d.finish(f)
		err = errors.Join(err, left)
		if text != "" {
			fmt.Fprintln(p.stdout, text)
		}
	}
	return err
}

// folders looks into those that are to be drained. It changes nothing.
func (c *spoolDrainCmd) folders(say func(string)) (folders []*spoolFolder, err error) {
	names, err := spoolInstances(&c.Config, c.Instances)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := readSpool(&c.Config, name, nil)
		switch {
		case err != nil:
			return nil, err
		case f.Running && len(c.Instances) > 0:
			return nil, inUse(name)
		case f.Running:
			say(name + " is left alone: a running instance has it, and sends what is in it")
			continue
		}
		if i := slices.IndexFunc(f.Damage, func(x spool.Place) bool { return errors.Is(x.Why, spool.ErrFormat) }); i >= 0 {
			return nil, fmt.Errorf("%s: %s", name, f.unread()[i])
		}
		folders = append(folders, f)
	}
	return folders, nil
}

func inUse(instance string) error {
	return fmt.Errorf("a running sluice has the folder of instance %q: stop it first (while it runs, it sends what is in there itself)", instance)
}

// spoolDrain is a run of the command, from open to close.
type spoolDrain struct {
	config  *config.Config
	log     *zap.Logger
	deduper *dedupe.Deduper
	folders []*drained
	total   int // entries

	unmarked int // events that Redis wasn't told of
}

// drained is a folder that is being emptied.
type drained struct {
	*spoolFolder
	publisher *publisher.Publisher
	away      error // at the end: why Kafka doesn't answer
}

// open takes the folders and begins to send what is in them.
func (d *spoolDrain) open(ctx context.Context, folders []*spoolFolder) (err error) {
	if d.deduper, err = newDeduper(d.config, d.log, prometheus.NewRegistry()); err != nil {
		return err
	}
	if err = d.deduper.Check(ctx); err != nil {
		return err
	}
	// An instance goes on without Redis; who waits for this one's end can as well put Redis right before.
	if s := d.deduper.State(); !s.Up {
		return fmt.Errorf("redis is away (%s), so that nothing can be marked there as kept; check --redis-url (SLUICE_REDIS_URL), and whether Redis is up", s.Reason)
	}
	for _, f := range folders {
		x := &drained{spoolFolder: f}
		c := *d.config
		c.Instance = f.Instance
		c.SpoolMaxBytes = max(c.SpoolMaxBytes, 2*config.Size(f.Bytes)) // batches are written down here before they are sent, too
		o := publisherOptions(&c, d.rememberOne, nil, d.log, prometheus.NewRegistry())
		o.Spool.Alone = true
		x.publisher, err = publisher.New(o)
		switch {
		case errors.Is(err, spool.ErrLocked):
			return inUse(f.Instance)
		case err != nil:
			return explainSpool(err, &c)
		}
		d.folders = append(d.folders, x)
		d.total += f.Unsettled
	}
	return nil
}

// pendingMost is how many marks may wait for Redis at a time: the deduper gives up the oldest beyond its own bound.
const pendingMost = 10_000

// remember marks what is in the folders as kept, as long as ctx lasts.
func (d *spoolDrain) remember(ctx context.Context) {
	for _, f := range d.folders {
		for _, kept := range f.publisher.Recovered() {
			for d.deduper.State().PendingConfirms >= pendingMost && ctx.Err() == nil {
				pause(ctx)
			}
			if ctx.Err() != nil {
				d.unmarked++
				continue
			}
			d.rememberOne(kept)
		}
	}
}

func (d *spoolDrain) rememberOne(kept publisher.Kept) { d.deduper.Remember(kept.ID, kept.DeadLetter) }

// drainLook is the time between two looks at what is left.
const drainLook = 50 * time.Millisecond

func pause(ctx context.Context) {
	timer := time.NewTimer(drainLook)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wait returns when nothing is left, or ctx ends.
func (d *spoolDrain) wait(ctx context.Context) {
	for (d.left() > 0 || d.deduper.State().PendingConfirms > 0) && ctx.Err() == nil {
		pause(ctx)
	}
}

// left counts the entries that are still to be sent.
func (d *spoolDrain) left() (entries int) {
	for _, f := range d.folders {
		entries += max(f.publisher.Left()-f.strange, 0)
	}
	return entries
}

// closing bounds the end of a run. What is under way then stays in the spool.
const closing = 5 * time.Second

// close lets go of the folders. Its error tells of marks that Redis hasn't got.
func (d *spoolDrain) close(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, closing)
	defer cancel()
	for _, f := range d.folders {
		f.away = f.kafka()
		err = errors.Join(err, f.publisher.Close(ctx))
	}
	if d.deduper == nil {
		return err
	}
	closed := d.deduper.Close(ctx) // its error tells of less than this
	if n := d.deduper.State().Dropped + d.unmarked; n > 0 {
		return errors.Join(err, fmt.Errorf("%s events couldn't be marked in Redis: if the sender repeats them, they will be there twice. Once they are in Kafka, 'sluice dedupe rebuild' marks them", count(int64(n))))
	}
	return errors.Join(err, closed)
}

// finish removes a folder that is empty, or says what is left in it.
func (d *spoolDrain) finish(f *drained) (text string, left error) {
	err := spool.Remove(d.config.SpoolDir, f.Instance)
	events := f.total().events
	switch {
	case err == nil:
		return fmt.Sprintf("%s: %s events sent, folder removed", f.Instance, count(int64(events))), nil
	case errors.Is(err, spool.ErrLocked):
		return fmt.Sprintf("%s: an instance has started with the folder; it sends what is left", f.Instance), nil
	case !errors.Is(err, spool.ErrNotEmpty):
		return "", explainSpool(err, d.config)
	}
	rest, err := readSpool(d.config, f.Instance, nil)
	if err != nil {
		return "", err
	}
	for _, text := range rest.unread() {
		left = errors.Join(left, fmt.Errorf("%s: %s", f.Instance, text))
	}
	if n := rest.total().events; n > 0 {
		return "", errors.Join(left, fmt.Errorf("%s: %s of %s events are left, and stay in the folder%s", f.Instance, count(int64(n)), count(int64(events)), f.trouble()))
	}
	return fmt.Sprintf("%s: %s events sent; the folder stays, for what couldn't be read in it", f.Instance, count(int64(events))), left
}

// trouble is why Kafka hasn't taken what is left, if that is known.
func (f *drained) trouble() string {
	if f.away == nil {
		return ""
	}
	return fmt.Sprintf("; Kafka doesn't answer (%v): check --kafka-brokers (SLUICE_KAFKA_BROKERS), TLS and login, and whether Kafka is up", f.away)
}

// kafka is why Kafka doesn't answer, nil if it does.
func (f *drained) kafka() error {
	up, _, err := f.publisher.State()
	if up {
		return nil
	}
	return err
}

// drainShown is how far a run has come.
type drainShown struct {
	sent, total, marks int
	away               error
}

func (d *spoolDrain) progress() shown {
	s := drainShown{total: d.total, sent: d.total - d.left(), marks: d.deduper.State().PendingConfirms}
	for _, f := range d.folders {
		if err := f.kafka(); err != nil {
			s.away = err
		}
	}
	return s
}

func (s drainShown) text(time.Time) string {
	text := fmt.Sprintf("sent %s of %s entries", count(int64(s.sent)), count(int64(s.total)))
	if s.away != nil {
		text += fmt.Sprintf(", Kafka doesn't answer: %v", s.away)
	}
	if s.marks > 0 {
		text += fmt.Sprintf(", %s marks wait for Redis", count(int64(s.marks)))
	}
	return text
}

func (s drainShown) extent() (done, total int64) { return int64(s.sent), int64(s.total) }
