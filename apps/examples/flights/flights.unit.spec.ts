// The airports' rules, and the steps from a flight to its two appends. The file itself: flights.int.spec.ts.
import { given } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { busiestAirports, type Flight, flightEvents } from "./flights.ts";
import { Airport } from "./index.ts";

const payload = { flight: "flight-0", other: "LAS", at: "2001-01-01T00:47:00", delay: 66, distance: 1750 };
const departed = (change: object = {}) => ({ type: "Departed", payload: { ...payload, ...change } }) as const;
const arrived = (change: object = {}) => ({ type: "Arrived", payload: { ...payload, ...change } }) as const;

describe("flights: an airport", () => {
  it("counts departures and arrivals, and adds up delays of both", () => {
    given(Airport, [departed(), arrived({ delay: -9 })])
      .when(departed({ delay: 0 }))
      .thenState({ departures: 2, arrivals: 1, delaySum: 57 });
  });

  it("P3 takes no flight that puts the mean delay above a day, late or early", () => {
    for (const delay of [24 * 60 + 1, -24 * 60 - 1]) {
      given(Airport).when(departed({ delay })).thenRejected("the mean delay is at most a day");
      given(Airport).when(arrived({ delay })).thenRejected("the mean delay is at most a day");
    }
    given(Airport)
      .when(departed({ delay: 24 * 60 }))
      .thenState({ departures: 1, arrivals: 0, delaySum: 24 * 60 });
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

describe("flights: from a flight to its appends", () => {
  const flight: Flight = { date: "2001-01-01T00:47:00", delay: 66, distance: 1750, origin: "DTW", destination: "LAS" };

  it("it departs at its origin and arrives at its destination, under ids made of its place in the file", () => {
    expect(flightEvents(flight, 7)).toEqual([
      {
        entity: "airport/DTW",
        aggregate: "Airport",
        type: "Departed",
        payload: { flight: "flight-7", other: "LAS", at: "2001-01-01T00:47:00", delay: 66, distance: 1750 },
        id: "flight-7-departed",
      },
      {
        entity: "airport/LAS",
        aggregate: "Airport",
        type: "Arrived",
        payload: { flight: "flight-7", other: "DTW", at: "2001-01-01T00:47:00", delay: 66, distance: 1750 },
        id: "flight-7-arrived",
      },
    ]);
  });
});

describe("flights: the busiest airports", () => {
  const state = (departures: number, arrivals: number, delaySum = 0) => ({ departures, arrivals, delaySum });

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

  it("have a mean delay over departures and arrivals; without any it is 0", () => {
    const states = [
      ["airport/LAS", state(3, 1, 50)],
      ["airport/ZZZ", state(0, 0)],
    ] as const;
    expect(busiestAirports(states)).toEqual([
      { airport: "LAS", departures: 3, arrivals: 1, meanDelay: 12.5 },
      { airport: "ZZZ", departures: 0, arrivals: 0, meanDelay: 0 },
    ]);
  });
});
