// The airports' rules, and the steps from a flight to its saga. The file itself: flights.int.spec.ts.
import { compileContext } from "@heddle/domain/internal";
import { given } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { busiestAirports, differences, type Flight, sagaOf, totalsOf } from "./flights.ts";
import flights, { Airport, type AirportState, arrivalsPerDayMax, departures } from "./index.ts";

const payload = { flight: "flight-0", other: "LAS", at: "2001-01-01T00:47:00", delay: 66, distance: 1750 };
const departed = (change: object = {}) => ({ type: "Departed", payload: { ...payload, ...change } }) as const;
const arrived = (change: object = {}) => ({ type: "Arrived", payload: { ...payload, ...change } }) as const;
const cameBack = { type: "CameBack", payload: { flight: "flight-0", other: "LAS" } } as const;

describe("flights: an airport", () => {
  it("counts departures and arrivals, and adds up the delays of departures", () => {
    given(Airport, [departed(), arrived({ delay: -9 })])
      .when(departed({ delay: 0 }))
      .thenState({
        departures: 2,
        arrivals: 1,
        cameBack: 0,
        delaySum: 66,
        arrivalsOn: { "2001-01-01": 1 },
        arrivalsOnBusiestDay: 1,
      });
  });

  it("P3 takes a dozen arrivals a day and no more, and again as many on the next", () => {
    const crowded = Array.from({ length: arrivalsPerDayMax }, (_, minute) =>
      arrived({ at: `2001-01-01T12:${minute + 10}:00` }),
    );
    given(Airport, crowded).when(arrived()).thenRejected("an airport takes at most a dozen arrivals a day");
    given(Airport, crowded)
      .when(arrived({ at: "2001-01-02T00:01:00" }))
      .thenEvents([arrived({ at: "2001-01-02T00:01:00" })]);
  });

  it("P3 sees no more flights come back than departed; one that did was a departure all the same", () => {
    given(Airport).when(cameBack).thenRejected("no more flights come back than departed");
    given(Airport, [departed()]).when(cameBack).thenState({
      departures: 1,
      arrivals: 0,
      cameBack: 1,
      delaySum: 66,
      arrivalsOn: {},
      arrivalsOnBusiestDay: 0,
    });
  });

  it("P3 takes no flight that puts the mean delay above a day, late or early", () => {
    for (const delay of [24 * 60 + 1, -24 * 60 - 1]) {
      given(Airport).when(departed({ delay })).thenRejected("the mean delay is at most a day");
    }
    given(Airport)
      .when(departed({ delay: 24 * 60 }))
      .thenEvents([departed({ delay: 24 * 60 })]);
  });

  it.each([
    ["flight", ""],
    ["other", "Las Vegas"],
    ["at", "2001/01/01 00:47"],
    ["at", "2001-02-30T00:47:00"],
    ["delay", 0.5],
    ["distance", -1],
  ])("P7 takes no %s like %j", (field, value) => {
    given(Airport)
      .when(departed({ [field]: value }))
      .thenInvalid(field);
  });
});

describe("flights: departures", () => {
  it("have a row each, with the hour on the board of the airport that they left from", () => {
    const event = { entity: "airport/DTW", ...departed(), time: 9 } as const;
    const later = {
      ...departed({ flight: "flight-1", at: "2001-01-02T23:05:00", delay: -3 }),
      entity: "airport/ABQ",
    } as const;
    given(departures, [event, { entity: "airport/LAS", ...arrived({ other: "DTW" }) }, later]).thenRows([
      {
        flight: "flight-0",
        origin: "DTW",
        destination: "LAS",
        at: "2001-01-01T00:47:00",
        hour: 0,
        delay: 66,
        distance: 1750,
        departed_at: 9,
      },
      {
        flight: "flight-1",
        origin: "ABQ",
        destination: "LAS",
        at: "2001-01-02T23:05:00",
        hour: 23,
        delay: -3,
        distance: 1750,
        departed_at: 0,
      },
    ]);
  });
});

const flight: Flight = { date: "2001-01-01T00:47:00", delay: 66, distance: 1750, origin: "DTW", destination: "LAS" };

describe("flights: from a flight to its saga", () => {
  it("it is called by its place in the file", () => {
    expect(sagaOf(flight, 7)).toEqual({
      id: "flight-7",
      input: {
        flight: "flight-7",
        at: "2001-01-01T00:47:00",
        delay: 66,
        distance: 1750,
        origin: "DTW",
        destination: "LAS",
      },
    });
  });

  it("is a saga that the domain knows by the name flight", () => {
    expect([...compileContext(flights).sagas.keys()]).toEqual(["flight"]);
  });
});

describe("flights: what the airports must come to", () => {
  const crowd = Array.from({ length: arrivalsPerDayMax + 2 }, () => flight);
  const state = (departures: number, arrivals: number, back = 0): AirportState => ({
    departures,
    arrivals,
    cameBack: back,
    delaySum: 0,
    arrivalsOn: {},
    arrivalsOnBusiestDay: 0,
  });

  it("is counted day by day: what is beyond a dozen comes back", () => {
    const nextDay = { ...flight, date: "2001-01-02T00:47:00" };
    const { committed, compensated, airports } = totalsOf([...crowd, nextDay]);
    expect({ committed, compensated }).toEqual({ committed: 13, compensated: 2 });
    expect(Object.fromEntries(airports)).toEqual({
      DTW: { departures: 15, arrivals: 0 },
      LAS: { departures: 0, arrivals: 13 },
    });
  });

  it("holds the states, and what differs is told", () => {
    const totals = totalsOf(crowd);
    expect(
      differences(
        [
          ["airport/DTW", state(14, 0, 2)],
          ["airport/LAS", state(0, 12)],
        ],
        totals,
      ),
    ).toEqual([]);
    expect(
      differences(
        [
          ["airport/DTW", state(14, 0, 1)],
          ["airport/LAS", state(0, 13)],
        ],
        totals,
      ),
    ).toEqual([
      "airport/LAS: 13 arrivals, the file has 12",
      "13 flights arrived, 12 were to",
      "1 flights came back, 2 were to",
    ]);
  });
});

describe("flights: the busiest airports", () => {
  const state = (departures: number, arrivals: number, delaySum = 0): AirportState => ({
    departures,
    arrivals,
    delaySum,
    cameBack: 0,
    arrivalsOn: {},
    arrivalsOnBusiestDay: 0,
  });

  it("come in order of departures and arrivals together, equally busy ones by their letters", () => {
    const states = new Map([
      ["airport/LAS", state(2, 2)],
      ["airport/ATL", state(5, 0)],
      ["airport/ABQ", state(1, 3)],
      ["airport/ZZZ", state(0, 0)],
    ]);
    expect(busiestAirports(states).map((busy) => busy.airport)).toEqual(["ATL", "ABQ", "LAS", "ZZZ"]);
    expect(busiestAirports(states, 2).map((busy) => busy.airport)).toEqual(["ATL", "ABQ"]);
  });

  it("have a mean delay over departures; without any it is 0", () => {
    const states = [
      ["airport/LAS", state(4, 1, 50)],
      ["airport/ZZZ", state(0, 0)],
    ] as const;
    expect(busiestAirports(states)).toEqual([
      { airport: "LAS", departures: 4, arrivals: 1, meanDelay: 12.5 },
      { airport: "ZZZ", departures: 0, arrivals: 0, meanDelay: 0 },
    ]);
  });
});
