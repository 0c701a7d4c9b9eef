// C110-C116: what the video endpoint takes and gives.

import { EP, failure, mapped } from "../clients.mjs";

export async function answered(context) {
  return await mapped(context).run(EP, { input: context.input });
}

export async function refused(context) {
  return await failure(mapped(context).run(EP, { input: context.input }));
}
