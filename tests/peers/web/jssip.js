import { expose, note } from './page.js';
import JsSIP from 'jssip';

let ua = null;
let session = null;
let options = null;
const media = { mediaConstraints: { audio: true, video: false } };

// The call before this one, which an attended transfer brings together with it.
let previous = null;

function follow(data) {
  previous = session;
  session = data.session;
  note(data.originator === 'remote' ? 'incoming' : 'outgoing', { peer: session.remote_identity.uri.user });
  session.on('progress', (event) => event.originator === 'remote' && note('ringing', { status: event.response?.status_code }));
  session.on('confirmed', () => note('established'));
  for (const type of ['ended', 'failed']) {
    session.on(type, (event) => note('ended', {
      originator: event.originator, cause: event.cause, status: event.message?.status_code ?? null,
    }));
  }
  for (const type of ['hold', 'unhold']) session.on(type, (event) => note(type, { originator: event.originator }));
  session.on('refer', (event) => {
    note('refer', { to: event.request.refer_to.uri.user });
    event.accept(follow_own, media);
  });
  session.on('replaces', (event) => {
    note('replaces');
    event.accept(follow_own);
  });
  session.on('newDTMF', (event) => event.originator === 'remote' && note('dtmf', { digit: event.dtmf.tone }));
  if (data.originator === 'remote' && options.autoAnswer) session.answer(media);
}

// JsSIP announces the sessions that it makes for a transfer by `newRTCSession`, too: nothing is left to be done.
function follow_own() {}

const told = (done, failed) => ({
  eventHandlers: {
    requestFailed: () => failed(new Error('the REFER was refused')),
    accepted: (event) => { note('transferred'); done(event.status_line.status_code); },
    failed: (event) => failed(new Error(`the transfer failed: ${event.status_line.status_code}`)),
  },
});

expose({
  start(given) {
    options = given;
    ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(options.url)],
      uri: `sip:${options.user}@${options.domain}`,
      password: options.password,
      register_expires: 120,
    });
    ua.on('registered', () => note('registered'));
    ua.on('unregistered', () => note('unregistered'));
    ua.on('registrationFailed', (event) => note('registration_failed', { cause: event.cause }));
    ua.on('newRTCSession', follow);
    ua.on('newMessage', (event) => event.originator === 'remote'
      && note('message', { body: event.request.body }));
    ua.start();
  },
  stop: () => ua.stop(),
  call: (target) => { ua.call(`sip:${target}@${options.domain}`, media); },
  answer: () => session.answer(media),
  reject: (status) => session.terminate({ status_code: status }),
  hangup: () => session.terminate(),
  transfer: (target) => new Promise((done, failed) => {
    session.refer(`sip:${target}@${options.domain}`, told(done, failed));
  }),
  // the far end of the call before shall talk to that of the newest
  join: () => new Promise((done, failed) => {
    previous.refer(session.remote_identity.uri.toString(), { ...told(done, failed), replaces: session });
  }),
  hold: () => new Promise((done, failed) => { session.hold({}, done) || failed(new Error('cannot hold now')); }),
  unhold: () => new Promise((done, failed) => { session.unhold({}, done) || failed(new Error('cannot unhold now')); }),
  restartIce: () => new Promise((done, failed) => {
    session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, done) || failed(new Error('cannot renegotiate now'));
  }),
  message: (target, text) => new Promise((succeeded, failed) => {
    const eventHandlers = { succeeded: () => succeeded(), failed: (event) => failed(new Error(event.cause)) };
    ua.sendMessage(`sip:${target}@${options.domain}`, text, { eventHandlers });
  }),
  dtmf: (digits, duration) => session.sendDTMF(digits, { transportType: 'RFC2833', duration, interToneGap: 100 }),
  state: () => ({
    registered: ua?.isRegistered() ?? false,
    ringing: Boolean(session?.isInProgress()),
    established: Boolean(session?.isEstablished()),
  }),
});
