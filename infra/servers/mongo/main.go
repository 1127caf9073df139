// Command mongo speaks MongoDB's wire protocol: FerretDB with its SQLite backend.
//
// FerretDB's own command panics at start when it is built from its module, because the module lacks its generated
// version file. Embedded by another main package, as here, it does not look for that file.
//
// It also keeps an index that makes look-ups by _id what they are in MongoDB: see id_index.go.
//
// It reads two of that command's environment variables, FERRETDB_LISTEN_ADDR and FERRETDB_SQLITE_URL, so that either
// of the two can be started in the same way. It ends in order at SIGTERM or SIGINT.
// Not promised: access control. It belongs on loopback only.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
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
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: listen},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Handler:   "sqlite",
		SQLiteURL: sqliteURL,
	})
	if err != nil {
		return err
	}
	go keepIDIndexes(ctx, sqliteURL)
	return server.Run(ctx)
}
