import { expose, note } from './page.js';
import { Inviter, Registerer, RegistererState, SessionState, UserAgent } from 'sip.js';

let ua = null;
let registerer = null;
let session = null;
let options = null;
const media = { constraints: { audio: true, video: false } };
const address = (user) => UserAgent.makeURI(`sip:${user}@${options.domain}`);

function follow(created, originator) {
  session = created;
  session.stateChange.addListener((state) => {
    if (state === SessionState.Established) note('established');
    if (state === SessionState.Terminated) note('ended', { originator: null, cause: null, status: null });
  });
  session.delegate = {
    onInvite: () => note('reinvite', { originator: 'remote' }),
    onBye: (bye) => { note('bye', { originator: 'remote' }); bye.accept(); },
    onInfo: (info) => {
      note('dtmf', { digit: /Signal\s*=\s*(\S)/i.exec(info.request.body)?.[1] ?? null });
      info.accept();
    },
  };
  note(originator === 'remote' ? 'incoming' : 'outgoing', { peer: session.remoteIdentity.uri.user });
}

const reinvite = (hold, offerOptions = {}) => new Promise((done, failed) => {
  session.sessionDescriptionHandlerOptionsReInvite = { ...media, hold };
  session.invite({
    sessionDescriptionHandlerOptions: { ...media, hold, offerOptions },
    requestDelegate: {
      onAccept: () => {
        for (const sender of session.sessionDescriptionHandler.peerConnection.getSenders()) sender.track.enabled = !hold;
        note(hold ? 'hold' : 'unhold', { originator: 'local' });
        done();
      },
      onReject: (response) => failed(new Error(`re-INVITE refused: ${response.message.statusCode}`)),
    },
  }).catch(failed);
});

expose({
  async start(given) {
    options = given;
    ua = new UserAgent({
      uri: address(options.user),
      authorizationUsername: options.user,
      authorizationPassword: options.password,
      transportOptions: { server: options.url },
      sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      logLevel: 'warn',
      delegate: {
        onInvite: (invitation) => {
          follow(invitation, 'remote');
          if (options.autoAnswer) window.phone.answer();
        },
      },
    });
    registerer = new Registerer(ua, { expires: 120 });
    registerer.stateChange.addListener((state) => note(state.toLowerCase()));
    await ua.start();
    await registerer.register({
      requestDelegate: { onReject: (response) => note('registration_failed', { status: response.message.statusCode }) },
    });
  },
  stop: () => ua.stop(),
  call(target) {
    const inviter = new Inviter(ua, address(target), { sessionDescriptionHandlerOptions: media });
    follow(inviter, 'local');
    return inviter.invite({
      requestDelegate: {
        onProgress: (response) => response.message.statusCode > 100 && note('ringing', { status: response.message.statusCode }),
        onReject: (response) => note('refused', { status: response.message.statusCode }),
      },
    }).then(() => undefined);
  },
  answer: () => session.accept({ sessionDescriptionHandlerOptions: media }),
  reject: (status) => session.reject({ statusCode: status }),
  hangup() {
    if (session.state === SessionState.Established) return session.bye().then(() => undefined);
    return session instanceof Inviter ? session.cancel() : session.reject();
  },
  hold: () => reinvite(true),
  unhold: () => reinvite(false),
  restartIce: () => reinvite(false, { iceRestart: true }),
  dtmf: (digits, duration) => session.sessionDescriptionHandler.sendDtmf(digits, { duration, interToneGap: 100 }),
  state: () => ({
    registered: registerer?.state === RegistererState.Registered,
    ringing: session?.state === SessionState.Establishing || session?.state === SessionState.Initial,
    established: session?.state === SessionState.Established,
  }),
});
