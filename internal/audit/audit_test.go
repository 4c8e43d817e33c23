package audit

import (
	"crypto/sha256"
	"testing"
)

func sum(body string) Sum { return sha256.Sum256([]byte(body)) }

func topics(eventType string) []string {
	if eventType == "" {
		return []string{"dead"}
	}
	return []string{"t_" + eventType, "other"}
}

func TestCompare(t *testing.T) {
	a := Sent{ID: "A", Type: "email_sent", Body: sum("a"), Acknowledged: true}
	unanswered := a
	unanswered.Acknowledged = false
	bare := Sent{Type: "email_sent", Body: sum("bare"), DeliveryID: "1", Acknowledged: true}
	bare2 := bare
	bare2.DeliveryID = "2"
	dead := Sent{Body: sum("[]"), DeliveryID: "1", Acknowledged: true}
	dead2 := dead
	dead2.DeliveryID = "2"
	otherA := a
	otherA.Body = sum("A")
	torn := Sent{ID: "A", Body: sum("torn"), Acknowledged: true}
	torn2 := Sent{ID: "A", Body: sum("torn 2"), Acknowledged: true}
	onA := Record{Topic: "t_email_sent", ID: "A", Body: sum("a")}
	onBare := Record{Topic: "t_email_sent", ID: "x", Body: sum("bare")}
	onDead := Record{Topic: "dead", ID: "y", Body: sum("[]")}

	for name, tt := range map[string]struct {
		sent                              []Sent
		records                           []Record
		lost, doubled, changed, misplaced int
		foreign                           int
	}{
		"balanced":                               {sent: []Sent{a, bare, dead}, records: []Record{onA, onBare, onDead}},
		"sent again":                             {sent: []Sent{a, a, unanswered}, records: []Record{onA}},
		"overflow topic":                         {sent: []Sent{a}, records: []Record{{Topic: "other", ID: "A", Body: sum("a")}}},
		"lost":                                   {sent: []Sent{a, bare}, records: []Record{onBare}, lost: 1},
		"lost though first unanswered":           {sent: []Sent{unanswered, a}, lost: 1},
		"unanswered and not there":               {sent: []Sent{unanswered}},
		"unanswered and there":                   {sent: []Sent{unanswered}, records: []Record{onA}},
		"unanswered and there twice":             {sent: []Sent{unanswered}, records: []Record{onA, onA}, doubled: 1},
		"doubled":                                {sent: []Sent{a}, records: []Record{onA, onA}, doubled: 1},
		"changed":                                {sent: []Sent{a}, records: []Record{{Topic: "t_email_sent", ID: "A", Body: sum("A")}}, changed: 1},
		"changed beside the right one":           {sent: []Sent{a}, records: []Record{onA, {Topic: "t_email_sent", ID: "A", Body: sum("A")}}, changed: 1},
		"misplaced":                              {sent: []Sent{a}, records: []Record{{Topic: "t_email_opened", ID: "A", Body: sum("a")}}, misplaced: 1},
		"foreign":                                {sent: []Sent{a}, records: []Record{onA, {Topic: "t_email_sent", ID: "B", Body: sum("b")}}, foreign: 1},
		"foreign without id":                     {sent: []Sent{bare}, records: []Record{onBare, {Topic: "t_email_sent", Body: sum("b")}}, foreign: 1},
		"two deliveries of the same bytes":       {sent: []Sent{bare, bare2}, records: []Record{onBare, onBare}},
		"one of two deliveries lost":             {sent: []Sent{bare, bare2}, records: []Record{onBare}, lost: 1},
		"two deliveries of a dead letter":        {sent: []Sent{dead, dead2}, records: []Record{onDead, onDead}},
		"a dead letter on the topic of its type": {sent: []Sent{dead}, records: []Record{{Topic: "t_", Body: sum("[]")}}, misplaced: 1},
		"both deliveries lost":                   {sent: []Sent{bare, bare2}, lost: 2},
		"sent again with other bytes":            {sent: []Sent{a, otherA}, records: []Record{onA}},
		"both bytes of one event":                {sent: []Sent{a, otherA}, records: []Record{onA, {Topic: "t_email_sent", ID: "A", Body: sum("A")}}, doubled: 1},
		"one event with other bytes, lost":       {sent: []Sent{a, otherA}, lost: 1},
		"dead letters that may be one event":     {sent: []Sent{torn, torn2}, records: []Record{{Topic: "dead", Body: torn.Body}}},
		"dead letters that may be two events":    {sent: []Sent{torn, torn2}, records: []Record{{Topic: "dead", Body: torn.Body}, {Topic: "dead", Body: torn2.Body}}},
		"dead letters with one id, both lost":    {sent: []Sent{torn, torn2}, lost: 1},
		"dead letter doubled":                    {sent: []Sent{torn}, records: []Record{{Topic: "dead", Body: torn.Body}, {Topic: "dead", Body: torn.Body}}, doubled: 1},
		"a torn copy beside the event":           {sent: []Sent{a, torn}, records: []Record{onA, {Topic: "dead", Body: torn.Body}}},
		"a torn copy instead of the event":       {sent: []Sent{a, torn}, records: []Record{{Topic: "dead", Body: torn.Body}}, lost: 1},
		"changed, and not acknowledged":          {sent: []Sent{unanswered}, records: []Record{{Topic: "t_email_sent", ID: "A", Body: sum("A")}}, changed: 1},
		"headers aren't looked at":               {sent: []Sent{a}, records: []Record{{Topic: "t_email_sent", ID: "B", EventType: "x", Body: sum("a")}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Compare(tt.sent, tt.records, topics)
			got := [5]int{len(r.Lost), len(r.Doubled), len(r.Changed), len(r.Misplaced), r.Foreign}
			if want := [5]int{tt.lost, tt.doubled, tt.changed, tt.misplaced, tt.foreign}; got != want {
				t.Errorf("lost, doubled, changed, misplaced, foreign: %v, want %v; %+v", got, want, r)
			}
			if balanced := tt.lost+tt.doubled+tt.changed+tt.misplaced == 0; r.Balanced() != balanced {
				t.Errorf("balanced: %t", r.Balanced())
			}
			if r.Records+r.Foreign != len(tt.records) {
				t.Errorf("%d records and %d foreign of %d", r.Records, r.Foreign, len(tt.records))
			}
		})
	}
}

func TestFindingsNameTheEvent(t *testing.T) {
	r := Compare([]Sent{{ID: "A", Type: "email_sent", Acknowledged: true}, {Type: "push_sent", Body: sum("x"), Acknowledged: true}}, nil, topics)
	if len(r.Lost) != 2 || r.Lost[0].Event != "A" || r.Lost[1].Event != "push_sent without event_id, body's SHA-256 2d711642b726…" {
		t.Errorf("%+v", r.Lost)
	}
}

// TestOneEventCountsOnce: however often, by whomever and with whichever bytes it was sent.
func TestOneEventCountsOnce(t *testing.T) {
	a := Sent{ID: "A", Type: "email_sent", Body: sum("a"), DeliveryID: "1"}
	b := a
	b.Acknowledged, b.Body, b.DeliveryID = true, sum("b"), "2"
	c := a
	c.Acknowledged = true
	r := Compare([]Sent{a, b, c, a}, []Record{{Topic: "t_email_sent", ID: "A", Body: sum("b")}}, topics)
	if r.Sent != 1 || r.Acknowledged != 1 || r.Records != 1 || !r.Balanced() {
		t.Errorf("%+v", r)
	}
}

func TestHeaders(t *testing.T) {
	long := Sent{ID: "a\x01b", Type: "email_sent", Body: sum("long"), Acknowledged: true}
	c := NewComparison(Options{Topics: topics, Headers: true, Identity: func(id, _ string, body Sum) string {
		if id == long.ID {
			return "~e1"
		}
		if id == "" {
			return "~b" + string(body[:])
		}
		return id
	}})
	for _, s := range []Sent{
		{ID: "A", Type: "email_sent", Body: sum("a")},
		{ID: "B", Type: "email_sent", Body: sum("b")},
		{Type: "email_sent", Body: sum("no id")},
		{ID: "D", Body: sum("dead")},
		long,
	} {
		c.Send(s)
	}
	for i, r := range []Record{
		{Topic: "t_email_sent", ID: "A", EventType: "email_sent", Body: sum("a")},
		{Topic: "t_email_sent", ID: "A", EventType: "email_opened", Body: sum("b")}, // twice wrong
		{Topic: "t_email_sent", ID: "~b", EventType: "email_sent", Body: sum("no id")},
		{Topic: "dead", Body: sum("dead")},
		{Topic: "t_email_sent", ID: "~e1", EventType: "email_sent", Body: sum("long")},
	} {
		r.Offset = int64(i)
		c.Find(r)
	}
	r := c.Report()
	if len(r.Headers) != 2 || r.Headers[0].Event != "B" || r.Headers[1].Event != "B" || r.Headers[1].Records[0] != (Place{"t_email_sent", 0, 1}) || r.Balanced() {
		t.Errorf("%+v", r)
	}
	if len(r.Lost)+len(r.Doubled)+len(r.Changed)+len(r.Misplaced)+r.Foreign != 0 {
		t.Errorf("%+v", r)
	}
}

func TestDeadLettered(t *testing.T) {
	large := Sent{ID: "L", Type: "email_sent", Body: sum("large"), Acknowledged: true}
	dead := Sent{Body: sum("[]"), Acknowledged: true}
	for name, tt := range map[string]struct {
		records                          []Record
		deadLettered, misplaced, doubled int
	}{
		"refused": {
			records: []Record{{Topic: "dead", Reason: ReasonRefused, Body: large.Body}, {Topic: "dead", Reason: "not_json", Body: dead.Body}}, deadLettered: 1,
		},
		"for another reason": {
			records: []Record{{Topic: "dead", Reason: "not_json", Body: large.Body}, {Topic: "dead", Body: dead.Body}}, misplaced: 1,
		},
		"on another topic": {
			records: []Record{{Topic: "t_x", Reason: ReasonRefused, Body: large.Body}, {Topic: "dead", Body: dead.Body}}, misplaced: 1,
		},
		"kept as well": {
			records:      []Record{{Topic: "dead", Reason: ReasonRefused, Body: large.Body}, {Topic: "t_email_sent", Body: large.Body}, {Topic: "dead", Body: dead.Body}},
			deadLettered: 1, doubled: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewComparison(Options{Topics: topics, DeadLetter: "dead"})
			c.Send(large)
			c.Send(dead)
			for _, r := range tt.records {
				c.Find(r)
			}
			r := c.Report()
			if got, want := [4]int{r.DeadLettered, len(r.Misplaced), len(r.Doubled), len(r.Lost)}, [4]int{tt.deadLettered, tt.misplaced, tt.doubled, 0}; got != want {
				t.Errorf("dead-lettered, misplaced, doubled, lost: %v, want %v", got, want)
			}
		})
	}
}

// TestIdentityByDeliveryID: two events with one delivery id are one, of which one is kept.
func TestIdentityByDeliveryID(t *testing.T) {
	a := Sent{ID: "A", DeliveryID: "D", Type: "email_sent", Body: sum("a"), Acknowledged: true}
	b := Sent{ID: "B", DeliveryID: "D", Type: "email_opened", Body: sum("b"), Acknowledged: true}
	onB := Record{Topic: "t_email_opened", ID: "B", Body: sum("b")}
	for name, tt := range map[string]struct {
		records                []Record
		lost, doubled, changed int
	}{
		"one":     {records: []Record{onB}},
		"none":    {lost: 1},
		"both":    {records: []Record{onB, {Topic: "t_email_sent", ID: "A", Body: sum("a")}}, doubled: 1},
		"changed": {records: []Record{{Topic: "t_email_sent", ID: "A", Body: sum("A")}}, changed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewComparison(Options{Topics: topics, Identity: func(id, delivery string, _ Sum) string {
				if delivery != "" {
					return "~d" + delivery
				}
				return id
			}})
			c.Send(a)
			c.Send(b)
			for _, r := range tt.records {
				c.Find(r)
			}
			r := c.Report()
			if got, want := [4]int{len(r.Lost), len(r.Doubled), len(r.Changed), r.Foreign}, [4]int{tt.lost, tt.doubled, tt.changed, 0}; got != want || r.Sent != 1 {
				t.Errorf("lost, doubled, changed, foreign: %v, want %v; %+v", got, want, r)
			}
		})
	}
}

func TestForeignPlaces(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		c := NewComparison(Options{Topics: topics, Foreign: wanted})
		c.Find(Record{Topic: "x", Partition: 1, Offset: 7})
		r := c.Report()
		if r.Foreign != 1 || wanted != (len(r.ForeignRecords) == 1) || wanted && r.ForeignRecords[0].String() != "x[1]@7" {
			t.Errorf("%t: %+v", wanted, r)
		}
	}
}

func TestDoubledPlaces(t *testing.T) {
	c := NewComparison(Options{Topics: topics})
	c.Send(Sent{ID: "A", Type: "email_sent", Body: sum("a")})
	for _, offset := range []int64{9, 3} {
		c.Find(Record{Topic: "t_email_sent", Offset: offset, Body: sum("a")})
	}
	if r := c.Report(); len(r.Doubled) != 1 || r.Doubled[0].Detail != "is there 2 times: [t_email_sent[0]@3 t_email_sent[0]@9]" || len(r.Doubled[0].Records) != 2 {
		t.Errorf("%+v", r.Doubled)
	}
}
