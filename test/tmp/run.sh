cd /work/main; export DATA=/tmp/lab/data-perf; rm -rf $DATA
./node_modules/.bin/node $NFLAGS test/tmp/server.ts ${1:-1} ${2:-1} & S=$!
sleep 1.5
./node_modules/.bin/node test/tmp/load.ts 200 1 4 ${3:-4}
./node_modules/.bin/node test/tmp/load.ts 16 500 4 ${3:-4}
./node_modules/.bin/node test/tmp/load.ts 64 100 4 ${3:-4}
kill -TERM $S; wait $S
