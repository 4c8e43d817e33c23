package groups

import (
	"context"
	"fmt"
	"slices"
	"strings"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/listgroups"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/stream"
)

// States of groups that are told apart here. Others are Kafka's own words, such as Stable or PreparingRebalance.
const (
	Empty   = "Empty"   // without members
	Missing = "Missing" // there is no such group
	Unknown = "Unknown" // Kafka doesn't tell, as of groups that aren't consumers'
)

// Group is a group as its coordinator describes it.
type Group struct {
	Name    string
	State   string // Empty, Missing, Unknown or one of Kafka's
	Why     string // it is Unknown
	Members []Member
}

// Member is a consumer in a group.
type Member struct {
	ID, ClientID, Host string
	Partitions         []stream.Partition // that it was given, by topic and number
}

// MayBeSet reports whether offsets of the group can be set: it is certain that nobody reads as one of its members.
func (g *Group) MayBeSet() bool {
	return len(g.Members) == 0 && (g.State == Empty || g.State == Missing)
}

// List names the groups of all brokers, sorted. Groups that the login may not describe aren't among them.
func (a *Admin) List(ctx context.Context) (names []string, err error) {
	err = a.insist(ctx, a.patience, func(ctx context.Context) error {
		names = nil
		res, err := a.metadata(ctx)
		if err != nil {
			return err
		}
		for _, b := range res.Brokers {
			listed, err := a.listOf(ctx, b.NodeID)
			if err != nil {
				return err
			}
			names = append(names, listed...)
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// listOf names the groups that a broker coordinates.
func (a *Admin) listOf(ctx context.Context, broker int32) ([]string, error) {
	res, err := call[*listgroups.Response](ctx, a, broker, &listgroups.Request{})
	if err == nil && res.ErrorCode != 0 {
		err = kafka.Error(res.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("listing groups: %w", rights(err, "Describe on the cluster, or on groups"))
	}
	names := make([]string, len(res.Groups))
	for i, g := range res.Groups {
		names[i] = g.GroupID
	}
	return names, nil
}

// Describe tells a group's state and members. A group that isn't there is [Missing], which is no error.
func (a *Admin) Describe(ctx context.Context, name string) (g *Group, err error) {
	err = a.atCoordinator(ctx, name, func(ctx context.Context, broker int32) error {
		if g, err = a.describeClassic(ctx, broker, name); err != nil || len(g.Members) > 0 || g.State == Empty {
			return err
		}
		// If it is dead, there is no such group, or it isn't of the classic protocol. A fake Kafka calls such a group stable.
		found, err := a.describeConsumer(ctx, broker, name)
		if err != nil || found.State != dead {
			g = found
			return err
		}
		if g.State != dead { // about to get members
			return nil
		}
		listed, err := a.listOf(ctx, broker)
		g.State = Missing
		if slices.Contains(listed, name) {
			g.State, g.Why = Unknown, "Kafka describes no groups of this kind"
		}
		return err
	})
	return g, err
}

// dead is what Kafka calls the state of a group that isn't there, or not of the kind that was asked for.
const dead = "Dead"

func (a *Admin) describeClassic(ctx context.Context, broker int32, name string) (*Group, error) {
	res, err := call[*describegroups.Response](ctx, a, broker, &describegroups.Request{Groups: []string{name}})
	if err == nil && len(res.Groups) != 1 {
		err = fmt.Errorf("the broker describes %d groups", len(res.Groups))
	}
	if err == nil && res.Groups[0].ErrorCode != 0 {
		err = kafka.Error(res.Groups[0].ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("describing group %s: %w", name, rights(err, "Describe on the group"))
	}
	found := &res.Groups[0]
	g := &Group{Name: name, State: found.GroupState}
	for i := range found.Members {
		m := &found.Members[i]
		member := Member{ID: m.MemberID, ClientID: m.ClientID, Host: hostOf(m.ClientHost)}
		// Other kinds of members than consumers, as Connect's, have assignments of their own.
		if assigned := kmsg.NewConsumerMemberAssignment(); found.ProtocolType == "consumer" && assigned.ReadFrom(m.MemberAssignment) == nil {
			for _, t := range assigned.Topics {
				member.add(t.Topic, t.Partitions)
			}
		}
		g.Members = append(g.Members, member)
	}
	return g, nil
}

// hostOf takes away the slash with which brokers begin an address.
func hostOf(host string) string { return strings.TrimPrefix(host, "/") }

func (m *Member) add(topic string, partitions []int32) {
	for _, p := range partitions {
		m.Partitions = append(m.Partitions, stream.Partition{Topic: topic, ID: int(p)})
	}
}
