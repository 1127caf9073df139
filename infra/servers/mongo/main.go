// Command mongo speaks MongoDB's wire protocol: FerretDB with its SQLite backend.
//
// FerretDB's own command panics at start when it is built from its module, because the module lacks its generated
// version file. Embedded by another main package, as here, it does not look for that file.
//
// It also makes look-ups by _id what they are in MongoDB: see id_index.go.
//
// It reads some of that command's environment variables, so that either of the two can be started in the same way:
//
//	FERRETDB_LISTEN_ADDR, FERRETDB_SQLITE_URL
//	FERRETDB_TEST_ENABLE_NEW_AUTH    true: whoever asks for anything has to be a user (SCRAM)
//	FERRETDB_SETUP_DATABASE, _USERNAME, _PASSWORD    the first user, made when the database is not there
//
// The package ferretdb, which is meant for embedding, has no option for users. So what it does is done here, with
// FerretDB's internal packages: this module's path lies below FerretDB's, which is what Go asks of whoever imports them.
//
// It ends in order at SIGTERM or SIGINT.
// Not promised: rights. A user may do everything. It belongs on loopback only.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/build/version"
	"github.com/FerretDB/FerretDB/internal/clientconn"
	"github.com/FerretDB/FerretDB/internal/clientconn/connmetrics"
	"github.com/FerretDB/FerretDB/internal/handler/registry"
	"github.com/FerretDB/FerretDB/internal/util/password"
	"github.com/FerretDB/FerretDB/internal/util/state"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mongo:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listen := cmp.Or(os.Getenv("FERRETDB_LISTEN_ADDR"), "127.0.0.1:27017")
	sqliteURL := cmp.Or(os.Getenv("FERRETDB_SQLITE_URL"), "file:data/")
	logger := slog.New(lateLog{to: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})})

	version.Get().Package = "embedded"
	kept, err := state.NewProvider("")
	if err != nil {
		return err
	}
	err = kept.Update(func(s *state.State) {
		s.DisableTelemetry()
		s.TelemetryLocked = true
	})
	if err != nil {
		return err
	}
	metrics := connmetrics.NewListenerMetrics()
	handler, closeBackend, err := registry.NewHandler("sqlite", &registry.NewHandlerOpts{
		Logger:        logger,
		ConnMetrics:   metrics.ConnMetrics,
		StateProvider: kept,
		TCPHost:       listen,
		SQLiteURL:     sqliteURL,
		SetupDatabase: os.Getenv("FERRETDB_SETUP_DATABASE"),
		SetupUsername: os.Getenv("FERRETDB_SETUP_USERNAME"),
		SetupPassword: password.WrapPassword(os.Getenv("FERRETDB_SETUP_PASSWORD")),
		SetupTimeout:  30 * time.Second,
		TestOpts: registry.TestOpts{
			CappedCleanupPercentage: 10,
			BatchSize:               100,
			EnableNewAuth:           os.Getenv("FERRETDB_TEST_ENABLE_NEW_AUTH") == "true",
		},
	})
	if closeBackend != nil {
		defer closeBackend()
	}
	if err != nil {
		return err
	}
	listener, err := clientconn.Listen(&clientconn.NewListenerOpts{
		TCP:     listen,
		Mode:    clientconn.NormalMode,
		Metrics: metrics,
		Handler: handler,
		Logger:  logger,
	})
	if err != nil {
		return err
	}
	go keepIDIndexes(ctx, sqliteURL)
	listener.Run(ctx)
	return nil
}

// lateLog does with attributes what it does with lines: nothing, as long as their level is not written.
//
// FerretDB adds every statement's arguments to a logger before it asks for the level, and the handler would make text of them.
type lateLog struct {
	to    slog.Handler
	added []func(slog.Handler) slog.Handler
}

func (l lateLog) Enabled(ctx context.Context, level slog.Level) bool { return l.to.Enabled(ctx, level) }

func (l lateLog) Handle(ctx context.Context, record slog.Record) error {
	to := l.to
	for _, add := range l.added {
		to = add(to)
	}
	return to.Handle(ctx, record)
}

func (l lateLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (l lateLog) WithGroup(name string) slog.Handler {
	return l.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (l lateLog) with(add func(slog.Handler) slog.Handler) slog.Handler {
	return lateLog{l.to, append(slices.Clip(l.added), add)}
}
