import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { get } from "../src/api";
import { SignedIn, signOut } from "../src/session";
import { type Place, settled, show } from "./dom";

let place: Place;
let status = 200;
globalThis.fetch = async () =>
  status === 200 ? Response.json({ key_id: "k", scopes: [], needs_key: true }) : Response.json({ detail: "no" }, { status });

afterEach(() => {
  place.close();
  status = 200;
});

const SAID = /This session has ended/;

test("a session that ends while somebody looks says so", async () => {
  place = show(<SignedIn>inside</SignedIn>);
  await settled();
  assert.match(place.textContent ?? "", /inside/);
  status = 401;
  await get("/telecine/v1/requests").catch(() => {});
  await settled();
  assert.match(place.textContent ?? "", SAID);
});

test("who comes for the first time, or signs out, is told nothing of the kind", async () => {
  status = 401;
  place = show(<SignedIn>inside</SignedIn>);
  await settled();
  assert.match(place.textContent ?? "", /Sign in/);
  assert.doesNotMatch(place.textContent ?? "", SAID);
  place.close();
  status = 200;
  place = show(<SignedIn>inside</SignedIn>);
  await settled();
  await signOut();
  await settled();
  assert.doesNotMatch(place.textContent ?? "", SAID);
});
