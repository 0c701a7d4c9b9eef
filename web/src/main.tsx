import { render } from "preact";
import { App } from "./app";
import { followLinks } from "./router";

followLinks();
const place = document.getElementById("app");
if (place) render(<App />, place);
