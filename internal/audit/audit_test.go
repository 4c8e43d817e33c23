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
