package schedule

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

func TestAJitterBeyondThePauseSkipsNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		schedule, err := cron.ParseStandard("@every 1m")
		if err != nil {
			t.Fatal(err)
		}
		passes, skipped := 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour-time.Second)
		defer cancel()
		err = New(Job{Schedule: schedule, Jitter: time.Hour, Pass: making(func(context.Context) { passes++ })},
			Options{ShutdownTimeout: time.Second, Skipped: func() { skipped++ }}).Run(ctx)
		if err != nil || passes < 59 || skipped > 0 {
			t.Errorf("%d passes, %d skipped, %v; want one a minute", passes, skipped, err)
		}
	})
}
