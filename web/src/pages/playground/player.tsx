// Watching a clip, and choosing what of it the model is given: two handles, also by keyboard.
import { useState } from "preact/hooks";
import type { RefObject } from "preact";
import { Button } from "../../ui/basics";
import { clock } from "../../ui/format";
import type { Item } from "./media";

type Props = {
  item: Item;
  player: RefObject<HTMLVideoElement | null>;
  /** As the fields have it: seconds as text, or empty. */
  start: string;
  end: string;
  onCut: (cut: { start?: string; end?: string }) => void;
  several: boolean;
};

export function Player(props: Props) {
  const { item } = props;
  if (!item.isLink) return <Watched key={item.key} {...props} />;
  return (
    <p class="note">
      <a href={item.url} target="_blank" rel="noopener noreferrer">
        {item.name}
      </a>{" "}
      goes to the model as a link. Models that take links fetch it themselves.
    </p>
  );
}

function Watched({ item, player, start, end, onCut, several }: Props) {
  const [seconds, setSeconds] = useState(0);
  const [isBroken, setBroken] = useState(false);
  const see = (to: number) => {
    if (player.current) player.current.currentTime = to;
  };
  return (
    <div class="player">
      {isBroken ? (
        <p class="empty">This browser can not play it. The server decides for itself whether it can read it.</p>
      ) : (
        <video
          ref={player}
          src={item.preview}
          controls
          preload="metadata"
          playsInline
          aria-label={item.name}
          onLoadedMetadata={(event) => {
            const { duration } = event.currentTarget;
            setSeconds(Number.isFinite(duration) ? duration : 0);
          }}
          onError={() => setBroken(true)}
        />
      )}
      {seconds > 0 ? <Handles seconds={seconds} start={start} end={end} onCut={onCut} onSee={see} /> : null}
      {several && (start || end) ? <p class="hint">Beginning and end hold for every video of the call.</p> : null}
    </div>
  );
}

type HandlesProps = { seconds: number; onSee: (at: number) => void } & Pick<Props, "start" | "end" | "onCut">;

function Handles({ seconds, start, end, onCut, onSee }: HandlesProps) {
  const from = within(start, 0, seconds);
  const to = within(end, seconds, seconds);
  const step = seconds > 600 ? 1 : 0.1;
  const text = (value: number) => String(Math.round(value * 10) / 10);
  const setFrom = (value: number) => {
    const chosen = Math.min(value, to - step);
    onCut({ start: chosen <= 0 ? "" : text(chosen) });
    onSee(chosen);
  };
  const setTo = (value: number) => {
    const chosen = Math.max(value, from + step);
    onCut({ end: chosen >= seconds ? "" : text(chosen) });
    onSee(Math.min(chosen, seconds));
  };
  return (
    <div class="handles">
      <svg viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">
        <rect class="all" width="1000" height="8" rx="4" />
        <rect class="taken" x={(from / seconds) * 1000} width={Math.max(0, ((to - from) / seconds) * 1000)} height="8" />
      </svg>
      <input
        type="range"
        aria-label="Begin at"
        aria-valuetext={clock(from)}
        min={0}
        max={seconds}
        step={step}
        value={from}
        onInput={(event) => setFrom(event.currentTarget.valueAsNumber)}
      />
      <input
        type="range"
        aria-label="End at"
        aria-valuetext={clock(to)}
        min={0}
        max={seconds}
        step={step}
        value={to}
        onInput={(event) => setTo(event.currentTarget.valueAsNumber)}
      />
      <p class="quiet">
        {start || end ? (
          <>
            {exact(from)} – {exact(to)} of {exact(seconds)}{" "}
            <Button kind="quiet" onClick={() => onCut({ start: "", end: "" })}>
              Take all of it
            </Button>
          </>
        ) : (
          `All of it: ${exact(seconds)}. Move the handles to take a part.`
        )}
      </p>
    </div>
  );
}

function exact(seconds: number): string {
  const tenths = Math.round(seconds * 10);
  return clock(tenths / 10) + (tenths % 10 ? `.${tenths % 10}` : "");
}

/** What stands in the field as seconds; it may also be 1:30, or nothing. */
function within(text: string, missing: number, most: number): number {
  const value = text.includes(":") ? text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0) : parseFloat(text);
  return Number.isFinite(value) ? Math.min(Math.max(value, 0), most) : missing;
}
