package ingest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// Whatever panics, the sender reads a 503 on a connection that stays usable.
func TestPanics(t *testing.T) {
	const secret = "person@example.com"
	verdictPanics := &fakeClaim{verdict: func() Verdict { panic("verdict: " + secret) }}
	tests := []struct {
		name    string
		breakIt func(*fixture)
		claim   *fakeClaim
		settled string
		text    string
	}{
		{
			name: "in Claim",
			breakIt: func(f *fixture) {
				f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { panic(secret) }
			},
			claim: claimOf(Won), settled: "[]", text: "string",
		},
		{
			name: "of the run time",
			breakIt: func(f *fixture) {
				f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { panicAt([]int{}, 1); return nil, nil }
			},
			claim: claimOf(Won), settled: "[]", text: "runtime error: index out of range [1] with length 0",
		},
		{
			name:    "in Verdict",
			breakIt: func(*fixture) {},
			claim:   verdictPanics, settled: "[3]", text: "string",
		},
		{
			name: "in Publish",
			breakIt: func(f *fixture) {
				f.publisher.publish = func(context.Context, *Delivery, Claim) (Outcome, error) { panic(errors.New(secret)) }
			},
			claim: claimOf(Won), settled: "[4]", text: "*errors.errorString",
		},
		{
			name: "in Publish, after settling",
			breakIt: func(f *fixture) {
				f.publisher.publish = func(_ context.Context, _ *Delivery, c Claim) (Outcome, error) {
					c.Settle(Published)
					panic(http.ErrAbortHandler)
				}
			},
			claim: claimOf(Won), settled: "[1]", text: http.ErrAbortHandler.Error(),
		},
		{
			name: "in Echo",
			breakIt: func(f *fixture) {
				f.handler.echo.Pre(func(echo.HandlerFunc) echo.HandlerFunc {
					return func(echo.Context) error { panic(http.ErrAbortHandler) }
				})
			},
			claim: claimOf(Won), settled: "[]", text: http.ErrAbortHandler.Error(),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return tt.claim, nil }
			tt.breakIt(f)
			s := f.listen(t, nil)
			c := newClient(t)
			for i := range 3 {
				a, err := post(t, c, s.URL()+"/webhook", strings.NewReader(testEvent), func(r *http.Request) { sign(r, testEvent) })
				if err != nil {
					t.Fatalf("request %d: %v", i+1, err)
				}
				a.expect(t, http.StatusServiceUnavailable, "panic")
				if i == 0 {
					if got := tt.claim.outcomes(); got != tt.settled {
						t.Errorf("settled %s, want %s", got, tt.settled)
					}
				}
			}
			if got := f.counter(t, "sluice_refused_total{panic}"); got != 3 {
				t.Errorf("refused_total{panic} = %v, want 3", got)
			}
			stacks := f.logs.FilterMessage("handler panicked").All()
			if len(stacks) != 3 {
				t.Fatalf("%d stacks logged for 3 panics", len(stacks))
			}
			fields := stacks[0].ContextMap()
			if fields["panic"] != tt.text || !strings.Contains(fields["stack"].(string), "ServeHTTP") {
				t.Errorf("logged %v", fields)
			}
			if strings.Contains(fields["stack"].(string), secret) {
				t.Error("the panic's value is in the log")
			}
			f.expectIdle(t)
		})
	}
}

func panicAt(s []int, i int) { s[i] = 0 }

// An error of Echo's that nobody thought of isn't a 500.
func TestFrameworkErrors(t *testing.T) {
	for _, err := range []error{echo.ErrInternalServerError, echo.NewHTTPError(http.StatusBadRequest, "x"), errors.New("x")} {
		f := newFixture(t, nil)
		f.handler.echo.Pre(func(echo.HandlerFunc) echo.HandlerFunc {
			return func(echo.Context) error { return err }
		})
		f.do(t, signedRequest(testEvent)).expect(t, http.StatusServiceUnavailable, "internal")
	}
}
