package group

import (
	"errors"
	"fmt"
	"slices"

	kafka "github.com/segmentio/kafka-go"
)

// Why the time between two rebalances ends.
var (
	errRebalance = errors.New("the group rebalances")
	errTopics    = errors.New("there are other topics or partitions")
	errLost      = errors.New("the group has gone on without this member")
	errEnough    = errors.New("it was told to read no more")
)

func isOneOf(err error, codes ...kafka.Error) bool {
	return slices.ContainsFunc(codes, func(code kafka.Error) bool { return errors.Is(err, code) })
}

// expelled says that the coordinator doesn't know this member in this generation any more.
func expelled(err error) bool {
	return isOneOf(err, kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.FencedInstanceID)
}

// final says that trying again won't help.
func final(err error) bool {
	return isOneOf(err, kafka.GroupAuthorizationFailed, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.InvalidTopic, kafka.InvalidGroupId,
		kafka.InconsistentGroupProtocol, kafka.InvalidSessionTimeout, kafka.GroupMaxSizeReached)
}

// explain says what to do about a final error.
func (m *Member) explain(err error) error {
	switch {
	case isOneOf(err, kafka.GroupAuthorizationFailed):
		return fmt.Errorf("%w: the login needs the right Read on the group %s", err, m.opts.Group)
	case isOneOf(err, kafka.TopicAuthorizationFailed):
		return fmt.Errorf("%w: the login needs the rights Describe and Read on the topics", err)
	case isOneOf(err, kafka.InconsistentGroupProtocol):
		return fmt.Errorf("%w: the group %s has members that divide partitions in other ways, or isn't a group of consumers; use another group", err, m.opts.Group)
	case isOneOf(err, kafka.InvalidSessionTimeout):
		return fmt.Errorf("%w: the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms don't allow %s", err, m.opts.Session)
	}
	return err
}
