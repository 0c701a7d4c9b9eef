// Loaded before a Node program that `telecine exec` runs: connections to fal's hosts lead to
// Telecine's end of them, whatever opens them (fetch, https, undici, WebSocket), because fetch asks
// for no proxy. TLS, names and certificates stay as they are; only where the bytes go changes.
"use strict";

const net = require("net");
const path = require("path");
const tls = require("tls");
const workers = require("worker_threads");

const { domains, onlyFal } = require("./preload.json");
const ENDS = { 443: path.join(__dirname, "tls"), 80: path.join(__dirname, "plain") };

const isObject = (value) => typeof value === "object" && value !== null;

function isFal(host) {
  const name = String(host).toLowerCase().replace(/\.$/, "");
  return domains.some((domain) => name === domain || name.endsWith(`.${domain}`));
}

function isHere(host) {
  return /^(localhost|127(\.\d+){3}|(::ffff:)?127(\.\d+){3}|::1|0\.0\.0\.0|::)?$/i.test(host ?? "");
}

// ([options], [callback]) of what net and tls take: (options), (port, host, options), (path, ...).
function read(given) {
  const args = Array.isArray(given[0]) ? given[0] : given;
  const callback = args.find((arg) => typeof arg === "function");
  const options = Object.assign({}, ...args.filter(isObject));
  if (!isObject(args[0])) {
    const isPort = args[0] !== "" && Number(args[0]) >= 0;
    Object.assign(options, isPort ? { port: args[0] } : { path: args[0] });
    if (isPort && typeof args[1] === "string") options.host = args[1];
  }
  return [options, callback];
}

// Where a connection must not go as asked: a text says why.
function refusal(options) {
  if (options.path || options.fd !== undefined || options.handle) return undefined;
  if (isFal(options.host)) {
    return ENDS[options.port] ? undefined : "Telecine stands for fal's ports 443 and 80";
  }
  return onlyFal && !isHere(options.host) ? `${options.host} is not one of fal's hosts` : undefined;
}

function refuse(socket, reason) {
  const error = Object.assign(new Error(`telecine exec: ${reason}`), { code: "ECONNREFUSED" });
  process.nextTick(() => socket.destroy(error));
  return socket;
}

const connectTls = tls.connect;
tls.connect = function connect(...given) {
  const [options, callback] = read(given);
  if (options.socket || options.path || !isFal(options.host) || refusal(options)) {
    return connectTls.apply(this, given);
  }
  const servername = options.servername || options.host;
  return connectTls.call(this, { ...options, servername, path: ENDS[options.port] }, callback);
};

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...given) {
  const [options, callback] = read(given);
  const reason = refusal(options);
  if (reason) return refuse(this, reason);
  if (options.path || !isFal(options.host)) return connect.apply(this, given);
  // A TLS socket has chosen its kind of handle by now; tls.connect, above, came too late for it.
  if (this instanceof tls.TLSSocket) return refuse(this, "use tls.connect for fal's hosts");
  return connect.call(this, { ...options, path: ENDS[options.port] }, callback);
};

// A worker with an environment of its own would start without this file.
workers.Worker = class Worker extends workers.Worker {
  constructor(file, options = {}) {
    if (isObject(options.env)) {
      const { execArgv = process.execArgv } = options;
      options = { ...options, execArgv: [...execArgv, "--require", __filename] };
    }
    super(file, options);
  }
};

require("module").syncBuiltinESMExports();
